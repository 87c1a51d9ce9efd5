/** Rendering that is done once for a file of tests: it takes seconds and gives the same each time. */
type Rendering = typeof import("../../../lib/render/start.ts");

/** The module that renders what a cluster starts from, with what it gave before. */
export function renderedOnce(real: Rendering): Rendering {
  const known = new Map<string, unknown>();
  const once =
    <A extends unknown[], R>(name: string, render: (...args: A) => R) =>
    (...args: A): R => {
      const key = JSON.stringify([name, args]);
      if (!known.has(key)) known.set(key, render(...args));
      return known.get(key) as R;
    };
  return {
    renderInstall: once("install", real.renderInstall),
    renderRoot: once("root", real.renderRoot),
    childrenOf: once("children", real.childrenOf),
  };
}
