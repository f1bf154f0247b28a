import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  base: '/static/dashboard/',
  plugins: [react()],
  build: {
    outDir: '../static/dashboard',
    emptyOutDir: true,
    manifest: true,
    target: 'es2023',
    // One page, one script: splitting it would only add round trips.
    chunkSizeWarningLimit: 700,
    rolldownOptions: { input: 'src/app/main.tsx' },
  },
  test: {
    include: ['src/**/*.test.{ts,tsx}'],
  },
});
