/** The manifests of a directory that is neither a kustomization nor a chart, as Argo CD reads them. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { asObject, isMapping, type KubernetesObject, loadLast } from "../object.ts";
import { type ApplicationSource, type Rendered, reasonOf } from "./application.ts";

/** A line by which a file asks Argo CD not to read it. */
const marker = "+argocd:skip-file-rendering";

/**
 * Reads the YAML and JSON files of a directory.
 * @param isOffline in a repository of an unknown layout, a directory without any is not a mistake
 */
export function renderDirectory(
  root: string,
  path: string,
  { directory }: ApplicationSource,
  isOffline: boolean,
): Rendered {
  const manifests: Rendered["manifests"] = [];
  const omitted: string[] = [];
  for (const name of filesOf(root, path, directory)) {
    const file = posix.join(path, name);
    if (name.endsWith(".jsonnet")) {
      omitted.push(`${file}: Jsonnet is not rendered here`);
      continue;
    }
    const text = readFileSync(join(root, file), "utf8");
    if (text.includes(marker)) continue;
    const { objects, error, repeated } = objectsOf(text);
    if (error !== undefined) {
      const said = `${file}: ${error}`;
      return { manifests: [], error: said, errorAt: { file } };
    }
    if (repeated !== undefined) omitted.push(`${file}: ${repeated}`);
    for (const object of objects) manifests.push({ object, file, foreign: false });
  }
  if (manifests.length > 0) return omitted.length > 0 ? { manifests, omitted } : { manifests };
  if (omitted.length > 0) return { manifests, omitted };
  // Argo CD accepts this: the Application makes nothing.
  const nothing = `${path} holds no manifest`;
  return isOffline ? { manifests, omitted: [nothing] } : { manifests, error: nothing };
}

function filesOf(root: string, path: string, directory: ApplicationSource["directory"]): string[] {
  const { recurse = false, include, exclude } = directory ?? {};
  return namesBelow(join(root, path), recurse)
    .filter((name) => /\.(ya?ml|json|jsonnet)$/.test(name))
    .filter((name) => !include || glob(include, name))
    .filter((name) => !exclude || !glob(exclude, name))
    .filter((name) => isFile(join(root, path, name)))
    .sort();
}

// Argo CD walks as Go does: a link to a file is read, one to a directory is not entered.
function namesBelow(directory: string, recurse: boolean): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    !entry.isDirectory()
      ? entry.name
      : recurse && entry.name !== ".git"
        ? namesBelow(join(directory, entry.name), true).map((name) => `${entry.name}/${name}`)
        : [],
  );
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

/**
 * A file's objects. Argo CD skips a file that holds no object and does not look like one. A file that is partly an
 * object is an error.
 */
function objectsOf(text: string): { objects: KubernetesObject[]; error?: string; repeated?: string } {
  const objects: KubernetesObject[] = [];
  try {
    const { documents, repeated } = loadLast(text);
    for (const document of documents) if (document != null) objects.push(...itemsOf(asObject(document)));
    return repeated !== undefined && objects.length > 0 ? { objects, repeated } : { objects };
  } catch (error) {
    const looksLikeOne = ["apiVersion:", "kind:", "metadata:"].every((field) => text.includes(field));
    return objects.length > 0 || looksLikeOne ? { objects, error: reasonOf(error) } : { objects: [] };
  }
}

/** The objects of a list, which is what kubectl prints for several. */
export function itemsOf(object: KubernetesObject): KubernetesObject[] {
  const { items } = object;
  return object.kind.endsWith("List") && Array.isArray(items)
    ? items.filter(isMapping).map(asObject)
    : [object];
}

/** The globs of `directory.include`: an asterisk matches slashes too, braces hold alternatives. */
export function glob(pattern: string, text: string): boolean {
  let depth = 0;
  const expression = [...pattern].map((letter) => {
    if (letter === "*") return ".*";
    if (letter === "?") return ".";
    if (letter === "{") {
      depth++;
      return "(?:";
    }
    if (letter === "}" && depth > 0) {
      depth--;
      return ")";
    }
    if (letter === "," && depth > 0) return "|";
    return letter.replace(/[.+^$()|[\]\\{}]/, "\\$&");
  });
  try {
    return new RegExp(`^${expression.join("")}$`).test(text);
  } catch {
    return false;
  }
}
