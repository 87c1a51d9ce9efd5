/** Shows what a change would do to a cluster: the difference between the objects that two states of the repository render. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Configuration, configurationFile, configurationOf } from "../../lib/configuration.ts";
import { Git } from "../../lib/git/git.ts";
import {
  describeObject,
  type FieldPath,
  formatPath,
  identify,
  type KubernetesObject,
} from "../../lib/object.ts";
import { Cache } from "../../lib/render/cache.ts";
import { type Application, clusterNames, renderCluster } from "../../lib/render/cluster.ts";
import { cacheDirectory, nothingToRead, type Repository, readRepository } from "../../lib/repository.ts";
import { discoverIn } from "./discovered.ts";
import { trailerValues } from "./git/trailers.ts";

/** The trailer of a commit that confirms a deletion: `Deletes: Service shop/cart`, one for each object. */
export const deletesTrailer = "Deletes";

/** An object that both states have and that differs. */
export interface ChangedObject {
  before: KubernetesObject;
  after: KubernetesObject;
  fields: { path: FieldPath; before: unknown; after: unknown }[];
}

/** What changes on one cluster. */
export interface Difference {
  cluster: string;
  created: KubernetesObject[];
  changed: ChangedObject[];
  deleted: KubernetesObject[];
}

/** The differences of all clusters, with the deletions that no commit in between confirms. */
export interface BlastRadius {
  base: string;
  differences: Difference[];
  /** Names of objects, such as `Service shop/cart`; empty if deletions need no trailer. */
  unacknowledged: string[];
  /** Things that could not be rendered in one of the states, so that nothing is known about them. */
  skipped: string[];
  /** Applications that no longer render. */
  broken: string[];
}

/**
 * Compares the working tree with a revision.
 * @param cache results of earlier rendering
 * @throws if neither has a cluster
 */
export async function blastRadius(
  root: string,
  base: string,
  cache = new Cache(cacheDirectory),
): Promise<BlastRadius> {
  const git = new Git(root);
  const directory = mkdtempSync(join(tmpdir(), "gitops-base-"));
  try {
    // Git writes this worktree like the one that it is compared with, including line endings.
    await git.run("worktree", "add", "--quiet", "--detach", "--force", directory, base);
    const repository = await readRepository(root);
    const configuration = configurationOf(repository);
    const older = await readRepository(directory);
    // A commit without a gitops.yaml uses the configuration of the newer state.
    const earlier = older.has(configurationFile) ? configurationOf(older) : configuration;
    const [then, now] = [
      await renderAll(directory, older, earlier, cache, root),
      await renderAll(root, repository, configuration, cache, root),
    ];
    const [before, after] = [then.objects, now.objects];
    const clusters = [...new Set([...before.keys(), ...after.keys()])].sort();
    if (clusters.length === 0) throw nothingToRead(root);
    const differences = clusters.map((cluster) =>
      compare(cluster, before.get(cluster) ?? [], after.get(cluster) ?? []),
    );
    const meant = await acknowledged(git, base);
    const deleted = differences.flatMap((difference) => difference.deleted.map(describeObject));
    const unacknowledged =
      configuration.preset === "platform" ? [...new Set(deleted)].filter((name) => !meant.has(name)) : [];
    const skipped = [...new Set([...then.skipped, ...now.skipped])].sort();
    return { base, differences, unacknowledged, skipped, broken: now.broken };
  } finally {
    await git.try("worktree", "remove", "--force", directory);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The objects that each cluster of a checkout renders, by its name. @throws if an Application does not render */
export async function renderClusters(root: string, cache: Cache): Promise<Map<string, KubernetesObject[]>> {
  const files = await readRepository(root);
  return (await renderAll(root, files, configurationOf(files), cache, root)).objects;
}

interface State {
  objects: Map<string, KubernetesObject[]>;
  skipped: string[];
  broken: string[];
}

async function renderAll(
  root: string,
  files: Repository,
  configuration: Configuration,
  cache: Cache,
  home: string,
): Promise<State> {
  if (!configuration.layout) return renderDiscovered(root, files, configuration, cache, home);
  // The code below reads the layout from the directory of this state, so the file must be there.
  const text = files.get(configurationFile) ?? readFileSync(join(home, configurationFile), "utf8");
  if (!files.has(configurationFile)) writeFileSync(join(root, configurationFile), text);
  const repository = new Map([...files, [configurationFile, text]]);
  const rendered = new Map<string, KubernetesObject[]>();
  for (const cluster of clusterNames(repository)) {
    const applications = await renderCluster(root, repository, cluster, cache);
    for (const { name, error } of applications)
      if (error) throw new Error(`Application ${name} does not render: ${error}`);
    rendered.set(
      cluster,
      applications.flatMap(({ manifests }) => manifests.map(({ object }) => object)),
    );
  }
  return { objects: rendered, skipped: [], broken: [] };
}

async function renderDiscovered(
  root: string,
  repository: Repository,
  configuration: Configuration,
  cache: Cache,
  home: string,
): Promise<State> {
  const { destinations, skipped } = await discoverIn(root, repository, configuration, cache, home);
  const applications = destinations.flatMap((destination) => destination.applications);
  const said = (name: string, what: string): string => `Application ${name}: ${what}`;
  return {
    objects: new Map(
      destinations.map(({ name, applications: some }) => [
        name,
        some.flatMap((application) =>
          application.manifests.map(({ object }) => inNamespace(object, application)),
        ),
      ]),
    ),
    skipped: [
      ...skipped,
      ...applications.flatMap((application) =>
        application.skipped === undefined ? [] : [said(application.name, application.skipped)],
      ),
    ],
    broken: applications.flatMap(({ name, error }) => (error === undefined ? [] : [said(name, error)])),
  };
}

// Argo CD does the same. For cluster-wide kinds the destination's namespace means nothing.
function inNamespace(object: KubernetesObject, { manifest }: Application): KubernetesObject {
  const namespace: unknown = manifest?.object.spec?.destination?.namespace;
  if (
    object.metadata.namespace !== undefined ||
    typeof namespace !== "string" ||
    clusterWide.test(object.kind)
  )
    return object;
  return { ...object, metadata: { ...object.metadata, namespace } };
}

const clusterWide =
  /^(Namespace|Node|PersistentVolume|StorageClass|PriorityClass|IngressClass|CustomResourceDefinition|APIService|.*WebhookConfiguration|Cluster[A-Z]\w*)$/;

async function acknowledged(git: Git, base: string): Promise<Set<string>> {
  return new Set((await trailerValues(git, `${base}..HEAD`, deletesTrailer)).filter(Boolean));
}

/** Compares two lists of objects by group, kind, namespace and name. */
export function compare(cluster: string, before: KubernetesObject[], after: KubernetesObject[]): Difference {
  const old = new Map(before.map((object) => [identityOf(object), object]));
  const now = new Map(after.map((object) => [identityOf(object), object]));
  return {
    cluster,
    created: after.filter((object) => !old.has(identityOf(object))),
    deleted: before.filter((object) => !now.has(identityOf(object))),
    changed: [...now].flatMap(([key, object]) => {
      const previous = old.get(key);
      const fields = previous ? changedFields(previous, object) : [];
      return previous && fields.length > 0 ? [{ before: previous, after: object, fields }] : [];
    }),
  };
}

// A generated object gets a new name when its content changes. That counts as a change of one object.
const contentHash = /-[2456789bcdfghkmt]{10}$/;

const identityOf = (object: KubernetesObject): string =>
  object.kind === "ConfigMap" || object.kind === "Secret"
    ? identify(object).replace(contentHash, "")
    : identify(object);

function changedFields(before: unknown, after: unknown, path: FieldPath = []): ChangedObject["fields"] {
  if (isDeepStrictEqual(before, after)) return [];
  const bothMaps = isMap(before) && isMap(after);
  const bothLists = Array.isArray(before) && Array.isArray(after) && before.length === after.length;
  if (!bothMaps && !bothLists) return [{ path, before, after }];
  const [a, b] = [before as Record<string, unknown>, after as Record<string, unknown>];
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return keys.flatMap((key) => changedFields(a[key], b[key], [...path, bothLists ? Number(key) : key]));
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const restarting: Record<string, string> = {
  Deployment: "template",
  StatefulSet: "template",
  DaemonSet: "template",
};

/** The parts of a difference that deserve a second look. */
export function consequences({ created, changed, deleted }: Difference): string[] {
  const said: string[] = [];
  for (const { after, fields } of changed) {
    const name = describeObject(after);
    if (after.kind in restarting && fields.some(({ path }) => path[0] === "spec" && path[1] === "template")) {
      said.push(
        `restarts the pods of ${name}${after.spec?.replicas === undefined ? "" : ` (${after.spec.replicas})`}`,
      );
    } else if (after.kind in restarting && fields.some(({ path }) => path[1] === "replicas")) {
      said.push(`scales ${name} to ${after.spec?.replicas}`);
    }
    if (after.kind in restarting && fields.some(({ path }) => path[1] === "selector")) {
      said.push(`cannot be applied: the selector of ${name} is immutable`);
    }
  }
  const touched: [string, KubernetesObject[]][] = [
    ["creates", created],
    ["changes", changed.map(({ after }) => after)],
    ["deletes", deleted],
  ];
  for (const [verb, objects] of touched) {
    for (const object of objects) {
      const name = describeObject(object);
      if (object.kind === "CustomResourceDefinition") {
        said.push(`${verb} ${name}${verb === "deletes" ? ", and with it every resource of that kind" : ""}`);
      } else if (object.kind === "Namespace") {
        said.push(`${verb} ${name}${verb === "deletes" ? ", and with it everything in it" : ""}`);
      } else if (/Webhook/.test(object.kind))
        said.push(`${verb} ${name}: it decides on every request that it matches`);
      else if (verb === "deletes" && object.kind === "PersistentVolumeClaim")
        said.push(`deletes ${name}, and with it its data`);
      else if (verb === "deletes" && object.kind === "Application")
        said.push(`deletes ${name}, and with it the objects that it made`);
    }
  }
  return said;
}

/** Writes a blast radius as Markdown, for a review. */
export function formatBlastRadius({
  base,
  differences,
  unacknowledged,
  skipped = [],
  broken = [],
}: Pick<BlastRadius, "base" | "differences" | "unacknowledged"> & Partial<BlastRadius>): string {
  const parts = differences.map((difference) => {
    const { cluster, created, changed, deleted } = difference;
    const heading = `## ${cluster}: ${created.length} created, ${changed.length} changed, ${deleted.length} deleted\n`;
    const section = (title: string, lines: string[]): string =>
      lines.length === 0 ? "" : `\n**${title}**\n\n${lines.map((line) => `- ${line}\n`).join("")}`;
    return [
      heading,
      section("Look at this", consequences(difference)),
      section("Deleted", deleted.map(describeObject)),
      section("Created", created.map(describeObject)),
      section(
        "Changed",
        changed.map(({ after, fields }) => {
          const lines = fields.map(
            ({ path, before, after: now }) => `\n  - \`${formatPath(path)}\`: ${show(before)} → ${show(now)}`,
          );
          return `${describeObject(after)}${lines.join("")}`;
        }),
      ),
    ].join("");
  });
  const missing = unacknowledged.map((name) => `    ${deletesTrailer}: ${name}\n`).join("");
  const note = missing ? `\nDeletions must be confirmed. Add this to the commit message:\n\n${missing}` : "";
  const list = (title: string, lines: string[]): string =>
    lines.length === 0 ? "" : `\n**${title}**\n\n${lines.map((line) => `- ${line}\n`).join("")}`;
  const rest = [list("No longer renders", broken), list("Not looked at", skipped)].join("");
  return `# Against ${base}\n\n${parts.join("\n")}${rest}${note}`;
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return `\`${text.length > 120 ? `${text.slice(0, 117)}...` : text}\``;
}
