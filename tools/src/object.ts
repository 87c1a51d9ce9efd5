import { loadAll } from "js-yaml";

/** A Kubernetes object as it stands in a manifest. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    finalizers?: string[];
  };
  // biome-ignore lint/suspicious/noExplicitAny: a manifest's fields depend on its kind, the schemas check them
  [field: string]: any;
}

/** Reads the objects of a YAML stream; empty documents are skipped. */
export function parseObjects(yaml: string): KubernetesObject[] {
  return loadAll(yaml).filter((document) => document != null) as KubernetesObject[];
}

/** Names an object the way kubectl users do: `Deployment logging/app`. */
export function describeObject({ kind, metadata }: KubernetesObject): string {
  return metadata.namespace ? `${kind} ${metadata.namespace}/${metadata.name}` : `${kind} ${metadata.name}`;
}

/** The API group of an object, empty for the core group. */
export function groupOf({ apiVersion }: KubernetesObject): string {
  return apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
}
