/** Commands as tests start them: one JavaScript file each, which starts in a fifth of the time that tsx takes. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";
import { nodeBundle } from "../bundle.ts";
import { checkout } from "../repository.ts";

const kept = join(checkout, "node_modules/.cache/bundles");

/** The files that a bundle was made from: path, size and time of each. */
type Made = Record<string, string>;

const stamp = (path: string): string => {
  const found = statSync(path, { throwIfNoEntry: false });
  return found ? `${found.size} ${found.mtimeMs}` : "gone";
};

// What a source asks of its own place it is answered as if it had started from there.
const ownPlace: Plugin = {
  name: "own place",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.[mc]?ts$/ }, ({ path }) => {
      if (path.includes("/node_modules/")) return undefined;
      const text = readFileSync(path, "utf8")
        .replaceAll(/import\.meta\.url\b/g, () => JSON.stringify(pathToFileURL(path).href))
        .replaceAll(/import\.meta\.dirname\b/g, () => JSON.stringify(dirname(path)));
      return { contents: text, loader: "ts", resolveDir: dirname(path) };
    }),
};

/**
 * Bundles a program with all that it imports, unless that is there from before and no file of it has changed.
 * Any number of processes may ask at once.
 * @param entry the TypeScript file that is started; one that asks whether it was started itself would deny it here
 * @returns the JavaScript file, for `node FILE ARGS`
 */
export async function bundle(entry: string): Promise<string> {
  const source = resolve(entry);
  const name = relative(checkout, source)
    .replaceAll(/[^\w.-]/g, "-")
    .replace(/\.ts$/, "");
  const [file, list] = [join(kept, `${name}.mjs`), join(kept, `${name}.json`)];
  if (existsSync(file) && existsSync(list) && isFresh(list)) return file;
  mkdirSync(kept, { recursive: true });
  const own = `${process.pid}-${performance.now()}`;
  const { metafile } = await build({
    ...nodeBundle,
    entryPoints: [source],
    outfile: `${file}.${own}`,
    keepNames: true,
    metafile: true,
    logLevel: "error",
    absWorkingDir: checkout,
    plugins: [ownPlace],
  });
  const inputs = [...Object.keys(metafile.inputs), relative(checkout, import.meta.filename)];
  const made: Made = Object.fromEntries(inputs.map((path) => [path, stamp(join(checkout, path))]));
  // Without its list a bundle counts as stale, so whoever comes in between makes it again.
  rmSync(list, { force: true });
  renameSync(`${file}.${own}`, file);
  writeFileSync(`${list}.${own}`, JSON.stringify(made));
  renameSync(`${list}.${own}`, list);
  return file;
}

function isFresh(list: string): boolean {
  try {
    const made = JSON.parse(readFileSync(list, "utf8")) as Made;
    return Object.entries(made).every(([path, then]) => stamp(join(checkout, path)) === then);
  } catch {
    return false;
  }
}
