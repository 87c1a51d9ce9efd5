/** How to turn each program of this repository into one JavaScript file. */
import type { BuildOptions } from "esbuild";

/** What every bundle has in common: a module for the oldest Node that is supported, with all that it imports. */
export const nodeBundle = {
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  // Packages that are not ES modules call require for Node's own. The name must not be one that a source imports too.
  banner: {
    js: 'import { createRequire as ownRequire } from "node:module"; const require = ownRequire(import.meta.url);',
  },
} as const satisfies BuildOptions;
