/** Finds the images that objects name. */
import { isMapping, type KubernetesObject } from "../object.ts";

/** An image reference, taken apart. */
export interface ImageName {
  /** With its registry, without tag or digest: `quay.io/argoproj/argocd`. */
  name: string;
  tag?: string;
  /** `sha256:…` */
  digest?: string;
}

/** Takes `NAME[:TAG][@DIGEST]` apart; a port belongs to the name. */
export function parseImage(text: string): ImageName {
  const [, name = text, tag, digest] = /^(.+?)(?::([^/:@]+))?(?:@(.+))?$/.exec(text) ?? [];
  return { name, ...(tag && { tag }), ...(digest && { digest }) };
}

const label = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?";
const part = "[a-z0-9]+(?:(?:\\.|_{1,2}|-+)[a-z0-9]+)*";
const reference = new RegExp(
  `^(?:${label}(?:\\.${label})*(?::\\d{1,5})?/)?${part}(?:/${part})*(?::\\w[\\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`,
);

/** True for what a container runtime accepts as an image; it refuses capitals and a tag that begins with a hyphen. */
export const isImage = (text: string): boolean => reference.test(text);

/** Writes what `parseImage` takes apart. */
export function formatImage({ name, tag, digest }: ImageName): string {
  return `${name}${tag ? `:${tag}` : ""}${digest ? `@${digest}` : ""}`;
}

/** An entry of a kustomization's `images`, with its place among them. */
export interface ImagesEntry {
  index: number;
  name: string;
  newName?: string;
  newTag?: unknown;
}

/** The entries of a kustomization's `images`; those of a wrong shape are kustomize's to complain about. */
export function imagesEntries(content: { images?: unknown } | undefined): ImagesEntry[] {
  const entries: unknown[] = Array.isArray(content?.images) ? content.images : [];
  return entries.flatMap((entry, index) => {
    if (!isMapping(entry) || typeof entry.name !== "string") return [];
    const { name, newName, newTag } = entry;
    return [{ index, name, newTag, ...(typeof newName === "string" && { newName }) }];
  });
}

// The kinds for which the Prometheus operator runs an image.
const operated = new Set(["Alertmanager", "Prometheus"]);
const containerLists = new Set(["containers", "initContainers", "ephemeralContainers"]);
// Flags by which an operator is told what to run, such as --prometheus-config-reloader=quay.io/…:v1.
const imageFlag = /^--[\w-]+=((?:[\w-]+\.)+[\w-]+(?::\d+)?\/[\w./-]+:[\w.-]+)$/;

/** The images that an object names: in its containers, as `spec.image` of an operator's resource, and in flags. */
export function imagesIn(object: KubernetesObject): string[] {
  const found = new Set<string>();
  const containers = (value: unknown): void => {
    if (Array.isArray(value)) for (const element of value) containers(element);
    else if (typeof value === "object" && value !== null) {
      for (const [field, child] of Object.entries(value)) {
        if (containerLists.has(field) && Array.isArray(child)) {
          for (const { image, args = [] } of child as { image?: unknown; args?: unknown[] }[]) {
            if (typeof image === "string") found.add(image);
            for (const flag of args) {
              const named = typeof flag === "string" ? imageFlag.exec(flag)?.[1] : undefined;
              if (named) found.add(named);
            }
          }
        }
        containers(child);
      }
    }
  };
  // A definition describes containers and has none.
  if (object.kind === "CustomResourceDefinition") return [];
  containers(object.spec);
  if (object.apiVersion.startsWith("monitoring.coreos.com/") && operated.has(object.kind)) {
    const { image, version } = object.spec ?? {};
    if (typeof image === "string") found.add(image);
    // The operator's default; its flags --…-default-base-image are not set here.
    else if (version) found.add(`quay.io/prometheus/${object.kind.toLowerCase()}:${version}`);
  }
  return [...found];
}
