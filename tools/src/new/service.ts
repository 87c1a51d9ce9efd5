/** Generates the files of a new service: it fills in the templates and adds the results to the repository. */
import { defaultEnvironment } from "../../../lib/environment.ts";
import { futureTag } from "../../../lib/git/source-tag.ts";
import { imagesEntries } from "../../../lib/images/names.ts";
import { readYaml } from "../../../lib/render/cluster.ts";
import { isKustomization } from "../../../lib/render/references.ts";
import { type Repository, serviceNames } from "../../../lib/repository.ts";
import { environments } from "./environment.ts";
import { listed } from "./listed.ts";
import { fill, type Values } from "./templates.ts";

/** The choices of the person. */
export interface ServiceOptions {
  name: string;
  /** The path or the host name that the gateway routes to the service. */
  route: { path: string } | { host: string };
  /** An image that is not built here. Without it, sources are generated. */
  image?: {
    reference: string;
    /** TCP port of its requests. */
    port: number;
    /** TCP port of its /metrics, if it has them. */
    metricsPort?: number;
    /** Path that answers 200 while the service is healthy. */
    health: string;
  };
}

/** The list of Applications, to which one line is added. */
export const rootFile = "gitops/root/kustomization.yaml";

/** A service's entry in that list. */
export const rootEntry = (name: string): string => `application-${name}.yaml`;

/**
 * Every file of a service, by path, including the list that names it. Tags that are already deployed are kept.
 */
export async function serviceFiles(
  root: string,
  repository: Repository,
  options: ServiceOptions,
): Promise<Map<string, string>> {
  const { name, image } = options;
  const common = valuesOf(repository, options);
  const values = { ...common, TAG: image ? "" : await tagOf(root, common) };
  const files = new Map<string, string>();
  const add = (found: Map<string, string>): void => {
    for (const [path, text] of found) files.set(path, text);
  };
  for (const part of partsOf(options)) add(fill(part, values));
  for (const environment of [defaultEnvironment, ...environments(repository)]) {
    const own = { ...values, ENVIRONMENT: environment };
    add(fill(image || environment === defaultEnvironment ? "environment" : "promoted", own));
  }
  for (const [path, text] of files) files.set(path, withDeployedTag(repository, path, text, values));
  const list = repository.get(rootFile) ?? "";
  return files.set(rootFile, listed(rootFile, list, rootEntry(name)));
}

function partsOf({ route, image }: ServiceOptions): string[] {
  const scraped = image === undefined || image.metricsPort !== undefined;
  return [
    "common",
    image ? "image" : "built",
    ...(image && scraped ? ["image-scraped"] : []),
    "path" in route ? "path" : "host",
    scraped ? "scraped" : "unscraped",
  ];
}

function valuesOf(repository: Repository, { name, route, image }: ServiceOptions): Values {
  return {
    NAME: name,
    ALERT: `Service${name.replace(/(?:^|-)+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())}`,
    IMAGE: `${registryOf(repository)}/${name}`,
    ...("path" in route ? { PATH: route.path } : { HOST: route.host }),
    ...(image && {
      REFERENCE: image.reference,
      PORT: String(image.port),
      HEALTH: image.health,
      METRICS_PORT: String(image.metricsPort ?? ""),
    }),
  };
}

/** The tag that the generated sources will have. */
async function tagOf(root: string, values: Values): Promise<string> {
  const directory = `services/${values.NAME}/`;
  const sources = [...fill("built", { ...values, TAG: "" })].flatMap(([path, text]): [string, string][] =>
    path.startsWith(directory) ? [[path.slice(directory.length), text]] : [],
  );
  return futureTag(root, new Map(sources));
}

/** The registry of the other services' images. A fork has its own registry. */
function registryOf(repository: Repository): string {
  const services = serviceNames(repository);
  for (const path of repository.keys()) {
    if (!path.startsWith("gitops/") || !isKustomization(path)) continue;
    for (const { name, newName = name } of imagesEntries(readYaml(repository, path))) {
      const [, registry, service = ""] = /^(.+)\/([^/]+)$/.exec(newName) ?? [];
      if (registry && services.includes(service)) return registry;
    }
  }
  return "docker.io/logging-platform";
}

// A tag that was released or promoted since is kept. Commands write it, so it does not count as a person's edit.
function withDeployedTag(
  repository: Repository,
  path: string,
  text: string,
  { IMAGE, TAG = "" }: Values,
): string {
  const present = repository.has(path) ? imagesEntries(readYaml(repository, path)) : [];
  const deployed = present.find(({ name, newName = name }) => newName === IMAGE)?.newTag;
  return TAG === "" || deployed === undefined
    ? text
    : text.replace(`newTag: "${TAG}"`, `newTag: "${deployed}"`);
}
