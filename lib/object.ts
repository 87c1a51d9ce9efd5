import { CORE_SCHEMA, defineScalarTag, intCoreTag, loadAll as loadPlain, mergeTag } from "js-yaml";

// In these points Kubernetes and kustomize read YAML 1.1: `defaultMode: 0644` is octal, and `<<` merges.
const octalTag = defineScalarTag("tag:yaml.org,2002:int", {
  implicit: true,
  implicitFirstChars: ["-", "+", ..."0123456789"],
  identify: () => false,
  resolve: (source, isExplicit, tag) =>
    /^[-+]?0[0-7]+$/.test(source) ? Number.parseInt(source, 8) : intCoreTag.resolve(source, isExplicit, tag),
});
const kubernetesYaml = CORE_SCHEMA.withTags(octalTag, mergeTag);

/** The documents of a YAML text as Kubernetes reads it. @throws if it is not YAML */
export const loadAll = (text: string): unknown[] => loadPlain(text, { schema: kubernetesYaml });

/**
 * The documents of a YAML text as Argo CD reads it: if a mapping has a key twice, the last one counts.
 * @returns `repeated` is the message about the first key that stands twice
 * @throws if it is not YAML
 */
export function loadLast(text: string): { documents: unknown[]; repeated?: string } {
  try {
    return { documents: loadAll(text) };
  } catch (error) {
    const { reason, mark } = error as { reason?: string; mark?: { line: number } };
    if (reason !== "duplicated mapping key") throw error;
    const documents = loadPlain(text, { schema: kubernetesYaml, json: true });
    const line = (mark?.line ?? 0) + 1;
    return {
      documents,
      repeated: `a key stands twice in line ${line}, and what it says first counts for nothing`,
    };
  }
}

/** A Kubernetes object as it stands in a manifest. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    generateName?: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    finalizers?: string[];
  };
  // biome-ignore lint/suspicious/noExplicitAny: a manifest's fields depend on its kind, the schemas check them
  [field: string]: any;
}

/** An object as an Application renders it, with the file that it comes from. */
export interface Manifest {
  object: KubernetesObject;
  /** The Application that applies it, or `bootstrap` if that is done before Argo CD runs. */
  application: string;
  /** Path from the root of the repository; for what a generator makes, the kustomization that configures it. */
  file: string;
  /** True if it comes from outside of the repository, by way of the kustomization in `file`. */
  foreign: boolean;
}

/** Keys and indexes that lead from an object to one of its fields. */
export type FieldPath = readonly (string | number)[];

/**
 * Reads the objects of a YAML stream; empty documents are skipped.
 * @throws if a document is not a Kubernetes object: whatever reads objects relies on kind, apiVersion and metadata
 */
export function parseObjects(yaml: string): KubernetesObject[] {
  return loadAll(yaml)
    .filter((document) => document != null)
    .map(asObject);
}

/** Returns a document as an object. @throws if it is not one */
export function asObject(document: unknown): KubernetesObject {
  if (!isMapping(document))
    throw new Error("a document is a list or a text, not an object with apiVersion and kind");
  const { apiVersion, kind, metadata } = document;
  const missing = { apiVersion, kind };
  for (const [field, value] of Object.entries(missing))
    if (typeof value !== "string" || value === "")
      throw new Error(`an object has no ${field}, or one that is not a text`);
  if (metadata !== undefined && !isMapping(metadata))
    throw new Error(`${kind} has metadata that is not a mapping`);
  for (const field of ["name", "namespace"])
    if (!["string", "undefined"].includes(typeof metadata?.[field]))
      throw new Error(`${kind} has a metadata.${field} that is not a text`);
  return { ...document, metadata: metadata ?? {} } as KubernetesObject;
}

/** True for what YAML calls a mapping. */
export const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Names an object the way kubectl users do: `Deployment logging/app`. */
export function describeObject({ kind, metadata }: KubernetesObject): string {
  return metadata.namespace ? `${kind} ${metadata.namespace}/${metadata.name}` : `${kind} ${metadata.name}`;
}

/** The API group of an object, empty for the core group. */
export function groupOf({ apiVersion }: { apiVersion: string }): string {
  return apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
}

/** The identity of an object in a cluster: group, kind, namespace and name. */
export function identify(object: KubernetesObject): string {
  const { namespace = "", name } = object.metadata;
  return `${groupOf(object)}/${object.kind} ${namespace}/${name}`;
}

/** Writes a path the way kubectl does: `spec.containers[0].image`. */
export function formatPath(path: FieldPath): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
}
