import { Component, type ReactNode } from 'react';

/** Says that the page itself has failed, instead of going blank. Trading does not depend on it. */
export class Failure extends Component<{ children: ReactNode }, { message: string | null }> {
  override state: { message: string | null } = { message: null };

  static getDerivedStateFromError(error: unknown) {
    return { message: error instanceof Error ? error.message : String(error) };
  }

  override render() {
    if (this.state.message === null) return this.props.children;
    return (
      <main className="state" role="alert">
        <p>The page has failed: {this.state.message}</p>
        <p>Trading goes on in its own process.</p>
        <button
          type="button"
          onClick={() => {
            location.reload();
          }}
        >
          Load the page again
        </button>
      </main>
    );
  }
}
