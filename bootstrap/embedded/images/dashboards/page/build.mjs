// Bundles the page: index.html, and what it asks for below assets/.
import { copyFileSync, mkdirSync } from "node:fs";
import { build } from "esbuild";

mkdirSync("dist", { recursive: true });
await build({
  entryPoints: { main: "src/main.tsx" },
  outdir: "dist/assets",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  legalComments: "linked",
  loader: { ".woff": "file", ".woff2": "file", ".svg": "dataurl", ".png": "dataurl" },
  // Its libraries say `global` and `process.env`, which a browser lacks: every query would fail.
  define: { global: "globalThis", "process.env.NODE_ENV": '"production"' },
  plugins: [
    {
      // Plugins loaded from servers would share whole libraries with the page: two thirds of its size, for none.
      name: "no-remote-plugins",
      setup({ onResolve }) {
        onResolve({ filter: /./ }, ({ kind, importer, path }) =>
          kind === "require-call" && importer.includes("plugin-system/dist/remote/")
            ? { path, external: true }
            : undefined,
        );
      },
    },
  ],
});
copyFileSync("index.html", "dist/index.html");
