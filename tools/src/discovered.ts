/** Validates a repository with an unknown layout: it finds what Argo CD would render there, cluster by cluster. */
import type { Configuration } from "../../lib/configuration.ts";
import { Git } from "../../lib/git/git.ts";
import { isMapping, type KubernetesObject, type Manifest } from "../../lib/object.ts";
import { isOpen } from "../../lib/render/application.ts";
import { type Cache, digest } from "../../lib/render/cache.ts";
import type { Application } from "../../lib/render/cluster.ts";
import { type Destination, type Discovery, discover } from "../../lib/render/discovery.ts";
import { checkout, type Repository } from "../../lib/repository.ts";
import { sortFindings } from "./finding.ts";
import type { Link } from "./git/files.ts";
import { Graph, type GraphInput } from "./graph.ts";
import { runRules } from "./rules/index.ts";
import type { Rule } from "./rules/rule.ts";
import { platformValidator } from "./schema/sources.ts";
import type { Validator } from "./schema/validator.ts";
import {
  type Defects,
  defectsInSources,
  ignoredFiles,
  Schemas,
  soundOf,
  type Validation,
} from "./validate.ts";

/** Validates a repository without a layout. */
export async function validateDiscovered(
  root: string,
  repository: Repository,
  links: Link[],
  configuration: Configuration,
  chosen: readonly Rule[],
  cache: Cache,
): Promise<Validation> {
  const discovery = await discoverIn(root, repository, configuration, cache);
  const { destinations } = discovery;
  const omitted = destinations.flatMap(({ applications }) =>
    applications.flatMap((application) => [
      ...without(application, isEncrypted, "encrypted by SOPS"),
      ...without(application, isLeftOpen, "a name is still a placeholder"),
    ]),
  );
  const applications = destinations.flatMap((destination) => destination.applications);
  const schemas = new Schemas(
    cache,
    "repository",
    applications,
    () => platformValidator(checkout, cache),
    discovery.definitions,
  );
  const validator = await schemas.validator();
  const unchecked: Record<string, number> = {};
  const findings = [];
  let objects = 0;
  for (const destination of destinations) {
    const graph = await graphOf(root, repository, discovery, destination, schemas, validator, cache);
    objects += graph.manifests.length;
    if (configuration.preset !== "platform") countUnknown(graph.input, unchecked);
    graph.input.links = links;
    findings.push(...runRules(graph, chosen));
  }
  const named = applications.filter(({ manifest }) => manifest !== undefined);
  return {
    findings: sortFindings(findings),
    clusters: destinations
      .filter((destination) => destination.applications.length > 0)
      .map(({ name }) => name),
    overlays: [],
    applications: named.length,
    objects,
    skipped: [
      ...discovery.skipped,
      ...named.flatMap(({ name, skipped, isExternal }) =>
        skipped === undefined || isExternal ? [] : [`Application ${name}: ${skipped}`],
      ),
      ...omitted,
      ...named.flatMap(({ omitted: parts = [] }) => parts),
    ],
    unchecked,
    external: named.flatMap(({ name, skipped, isExternal }) =>
      isExternal ? [`Application ${name}: ${skipped}`] : [],
    ),
    taken: discovery.taken,
  };
}

/**
 * Finds everything in a repository that Argo CD would read. Its remotes say which URLs refer to it.
 * @param home the path of the repository, if `root` is a worktree of an earlier state
 */
export async function discoverIn(
  root: string,
  repository: Repository,
  configuration: Configuration,
  cache: Cache,
  home = root,
): Promise<Discovery> {
  const listed = (await new Git(root).try("remote", "--verbose")) ?? "";
  const remotes = listed.split("\n").flatMap((line) => line.split(/\s+/)[1] ?? []);
  // A clone or a fork usually keeps the repository's name.
  remotes.push(home);
  return discover(root, repository, configuration, remotes, cache);
}

async function graphOf(
  root: string,
  repository: Repository,
  { projects }: Discovery,
  { name, applications }: Destination,
  schemas: Schemas,
  validator: Validator,
  cache: Cache,
): Promise<Graph> {
  const { sound, defects } = await soundOf(
    applications,
    async (application): Promise<Defects> => [
      ...(await schemas.check(application)),
      ...(await defectsInSources(application, repository, cache)),
    ],
  );
  const scopeless = new Set<KubernetesObject>(
    sound.flatMap(({ manifests }) =>
      manifests
        .map(({ object }) => object)
        .filter((object) => validator.isNamespaced(object) !== false && !object.metadata.namespace),
    ),
  );
  return new Graph({
    cluster: name,
    repository,
    applications: sound,
    defects,
    tags: new Map(),
    pins: [],
    projects,
    scopeless,
    ignored: await ignoredFiles(root, repository, name, applications),
  });
}

/** Removes the defects of unknown kinds from a graph and counts their objects instead. */
function countUnknown({ defects }: GraphInput, counts: Record<string, number>): void {
  for (const [application, found] of defects) {
    const unknown = found.filter(({ defect }) => defect.isUnknownKind);
    for (const { manifest } of unknown) {
      const kind = `${manifest.object.apiVersion} ${manifest.object.kind}`;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    if (unknown.length > 0)
      defects.set(
        application,
        found.filter(({ defect }) => !defect.isUnknownKind),
      );
  }
}

/** Removes objects from an Application whose values are not final, and says why. */
function without(application: Application, is: (manifest: Manifest) => boolean, why: string): string[] {
  const left = new Set(application.manifests.filter(is));
  if (left.size === 0) return [];
  application.manifests = application.manifests.filter((manifest) => !left.has(manifest));
  application.key = digest(application.key, why);
  return [...new Set([...left].map(({ file }) => `${file}: ${why}`))];
}

function isLeftOpen({ object: { metadata } }: Manifest): boolean {
  return [metadata.name, metadata.namespace].some((name) => typeof name === "string" && isOpen(name));
}

function isEncrypted({ object }: Manifest): boolean {
  const { sops } = object;
  return isMapping(sops) && ("mac" in sops || "version" in sops || "lastmodified" in sops);
}
