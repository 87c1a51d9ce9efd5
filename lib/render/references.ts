/** Finds the files that a kustomization is made of. */
import { posix } from "node:path";
import { load, loadAll } from "js-yaml";
import type { Repository } from "../repository.ts";

// The names that kustomize looks for, in its order.
const kustomizationFiles = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/** The file that makes a directory a kustomization, under the name that this repository uses. */
export const kustomizationOf = (directory: string): string => posix.join(directory, "kustomization.yaml");

/** The files that may make a directory a kustomization, whichever of its names they have. */
export const kustomizationsOf = (directory: string): string[] =>
  kustomizationFiles.map((name) => posix.join(directory, name));

/** True for a path that ends in one of kustomize's own file names. */
export const isKustomization = (path: string): boolean => kustomizationFiles.includes(posix.basename(path));

/** The kustomization of a directory under whichever name it has. */
export function kustomizationIn(repository: Pick<Repository, "has">, directory: string): string | undefined {
  return kustomizationsOf(directory).find((path) => repository.has(path));
}

/**
 * The files that rendering a directory reads, in the order in which they are reached: kustomizations and what they name.
 * A file that is not YAML leads nowhere; kustomize says what is wrong with it.
 * @param directories paths from the repository's root
 */
export function reachedFiles(repository: Pick<Repository, "get">, directories: string[]): Set<string> {
  const reached = new Set<string>();
  const pending = directories.flatMap(kustomizationsOf).reverse();
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    const text = repository.get(file);
    if (text === undefined || reached.has(file)) continue;
    reached.add(file);
    if (!isKustomization(file)) continue;
    const directory = posix.dirname(file);
    const named = namesIn(text);
    // A generator's or transformer's own file names further files, from the directory of the kustomization.
    const configured = pluginFiles(text).flatMap((path) =>
      namesIn(repository.get(posix.join(directory, path)) ?? ""),
    );
    const paths = [...named, ...configured].map((name) => posix.join(directory, name));
    pending.push(...paths.flatMap((path) => [path, ...kustomizationsOf(path)]).reverse());
  }
  return reached;
}

/**
 * Everything in a YAML text that could be the name of a file or directory: each text in it, whatever field it is in.
 * Kustomize has a dozen fields that name files, and its builtin plugins more: a list of them would always lack one.
 */
export function namesIn(text: string): string[] {
  const names = new Set<string>();
  const walk = (value: unknown, field = ""): void => {
    if (typeof value === "string") {
      // An inline transformer is a text that is YAML itself. An inline patch names nothing: it is of other objects' fields.
      if (value.includes("\n")) {
        if (!patchFields.has(field)) for (const document of documentsOf(value)) walk(document);
        // `files` of a generator may say KEY=PATH.
      } else if (value !== "") for (const name of [value, value.replace(/^[^=]+=/, "")]) names.add(name);
    } else if (Array.isArray(value)) for (const element of value) walk(element, field);
    else if (typeof value === "object" && value !== null)
      for (const [key, content] of Object.entries(value)) walk(content, key);
  };
  for (const document of documentsOf(text)) walk(document);
  return [...names];
}

const patchFields = new Set(["patch", "patchesStrategicMerge", "jsonOp", "patches"]);

/** The documents of a YAML text; none if it is not YAML. */
export function documentsOf(text: string): unknown[] {
  try {
    return loadAll(text);
  } catch {
    return [];
  }
}

function pluginFiles(text: string): string[] {
  const content = mappingOf(text);
  const entries = ["generators", "transformers", "validators"].flatMap((field) => content[field] ?? []);
  return entries.filter((entry) => typeof entry === "string");
}

/** A kustomization's fields; none if the text is not YAML or not a mapping. */
export function mappingOf(text: string): Record<string, unknown> {
  try {
    const content = load(text);
    return typeof content === "object" && content !== null && !Array.isArray(content)
      ? (content as Record<string, unknown>)
      : {};
  } catch {
    return {};
  }
}
