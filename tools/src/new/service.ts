/** What a service of one's own consists of: the templates, filled in for a name and laid over what is there. */
import { defaultEnvironment } from "../../../lib/environment.ts";
import { futureTag } from "../../../lib/git/source-tag.ts";
import { imagesEntries } from "../../../lib/images/names.ts";
import { readYaml } from "../../../lib/render/cluster.ts";
import { isKustomization } from "../../../lib/render/references.ts";
import { type Repository, serviceNames } from "../../../lib/repository.ts";
import { environments } from "./environment.ts";
import { listed } from "./listed.ts";
import { fill, type Values } from "./templates.ts";

/** What a person chooses. */
export interface ServiceOptions {
  name: string;
  /** Where the gateway hands on to it: a path, or a host name. */
  route: { path: string } | { host: string };
  /** An image that is not built here; without it the sources are generated. */
  image?: {
    reference: string;
    /** TCP port of its requests. */
    port: number;
    /** TCP port of its /metrics, where it has such. */
    metricsPort?: number;
    /** Path that answers 200 while it is well. */
    health: string;
  };
}

/** The list of Applications, which gains one line. */
export const rootFile = "gitops/root/kustomization.yaml";

/** The line there for a service. */
export const rootEntry = (name: string): string => `application-${name}.yaml`;

/**
 * Every file of a service, by path, with the list that names it. Tags that are deployed already stay in the files that
 * have them.
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

/** The tag that the sources will have. */
async function tagOf(root: string, values: Values): Promise<string> {
  const directory = `services/${values.NAME}/`;
  const sources = [...fill("built", { ...values, TAG: "" })].flatMap(([path, text]): [string, string][] =>
    path.startsWith(directory) ? [[path.slice(directory.length), text]] : [],
  );
  return futureTag(root, new Map(sources));
}

/** Where the images of the other services come from: a fork has a registry of its own. */
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

// What was released or promoted since stays: a tag is the tool's to write, and no edit of a person.
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
