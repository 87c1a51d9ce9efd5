/** Renders only once for each test file, because rendering takes seconds and always gives the same result. */
type Rendering = typeof import("../../../lib/render/start.ts");

/** The module that renders the start of a cluster, but with earlier results. */
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
