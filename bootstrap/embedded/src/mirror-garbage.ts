/**
 * Removing from the mirror what nothing needs: a tag stays while a pod or a workload names it, while this platform's own list
 * of images has it, for 30 days after it was pushed or a commit named it, and as one of an image's last three in Git, to which
 * a rollback may go.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { Git, othersRepository } from "../../../lib/git/git.ts";
import { parseImage } from "../../../lib/images/names.ts";
import { run } from "../../../lib/process.ts";
import { kubectlQuietly } from "../../src/kubectl.ts";
import { cache, keptImageDays, nodes, state } from "./layout.ts";
import { controlProgram } from "./supervisor.ts";

const day = 24 * 60 * 60 * 1000;

/** How many of an image's last tags in Git stay, however old they are. */
const keptForRollback = 3;

/** A tag of the mirror: the image's name with it, and when it was pushed. */
export interface Tag {
  reference: string;
  pushed: Date;
}

/** A commit's image, as its trailer `Image` names it, and when it was made. */
export interface Deployed {
  reference: string;
  committed: Date;
}

const nameOf = (reference: string): string => parseImage(reference).name;

/**
 * The tags that nothing needs.
 * @param used references that pods, workloads and the platform's list of images name
 * @param deployed what Git names, newest first
 */
export function unneeded(tags: Tag[], used: Set<string>, deployed: Deployed[], now: Date): Tag[] {
  const oldest = now.getTime() - keptImageDays * day;
  const kept = new Set(used);
  const rollbacks = new Map<string, Set<string>>();
  for (const { reference, committed } of deployed) {
    const last = rollbacks.get(nameOf(reference)) ?? new Set();
    rollbacks.set(nameOf(reference), last);
    if (last.size < keptForRollback) last.add(reference);
    if (committed.getTime() >= oldest || last.has(reference)) kept.add(reference);
  }
  return tags.filter(({ reference, pushed }) => !kept.has(reference) && pushed.getTime() < oldest);
}

const repositories = (): string => cache("registry", "docker/registry/v2/repositories");
const tagDirectory = (name: string, tag = ""): string => join(repositories(), name, "_manifests/tags", tag);

/** Every tag of the mirror, as its store has it. */
export function mirrorTags(): Tag[] {
  if (!existsSync(repositories())) return [];
  const names = readdirSync(repositories(), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith("/_manifests/tags"))
    .map((path) => path.slice(0, -"/_manifests/tags".length));
  return names.flatMap((name) =>
    readdirSync(tagDirectory(name)).flatMap((tag) => {
      const link = join(tagDirectory(name, tag), "current/link");
      return existsSync(link) ? [{ reference: `${name}:${tag}`, pushed: statSync(link).mtime }] : [];
    }),
  );
}

/** The text of every field `image`, at whatever depth: of pods' status too, which says what runs. */
export function imageFields(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(imageFields);
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "image" && typeof inner === "string" ? [inner] : imageFields(inner),
  );
}

/** The full name of an image that Kubernetes takes under a shorter one. */
export function fullName(image: string): string {
  const [first = "", ...rest] = image.split("/");
  const named =
    rest.length > 0 && (/[.:]/.test(first) || first === "localhost")
      ? image
      : `docker.io/${rest.length ? "" : "library/"}${image}`;
  return /:[^/]+$/.test(named) ? named : `${named}:latest`;
}

async function usedImages(): Promise<Set<string>> {
  const kinds = "pods,replicasets,deployments,statefulsets,daemonsets,controllerrevisions,jobs,cronjobs";
  const objects = await kubectlQuietly(["get", kinds, "--all-namespaces", "-o", "json"]);
  return new Set([...imageFields(JSON.parse(objects)).map(fullName), ...builtImages()]);
}

/** What bootstrap has pushed last from each of its images' inputs; a rebuilt cluster pulls it again. */
function builtImages(): string[] {
  const directory = cache("images");
  if (!existsSync(directory)) return [];
  const markers = readdirSync(directory).filter((name) => name.endsWith(".built"));
  const newest = new Map<string, { reference: string; at: number }>();
  for (const marker of markers) {
    const [reference = ""] = readFileSync(join(directory, marker), "utf8").split("@");
    const at = statSync(join(directory, marker)).mtimeMs;
    const before = newest.get(nameOf(reference));
    if (!before || before.at < at) newest.set(nameOf(reference), { reference, at });
  }
  return [...newest.values()].map(({ reference }) => reference);
}

/** The images that the commits of the platform's repository name, newest first; undefined where it is not to be read now. */
async function deployedImages(): Promise<Deployed[] | undefined> {
  for (const node of nodes) {
    const volumes = state("nodes", node.name, "opt/local-path-provisioner");
    const volume = (existsSync(volumes) ? readdirSync(volumes) : []).find((name) =>
      name.endsWith("_git_repositories-git-server-0"),
    );
    if (!volume) continue;
    const git = new Git(join(volumes, volume, "platform.git"));
    const format = "--format=%ct%n%(trailers:key=Image,valueonly)";
    return parseDeployed(await git.run(...othersRepository, "log", "--branches", format));
  }
  return undefined;
}

/** Reads lines of a commit's seconds of Unix time, and behind each the images it names. */
export function parseDeployed(text: string): Deployed[] {
  let committed = new Date(0);
  return text.split("\n").flatMap((line) => {
    if (/^\d+$/.test(line)) committed = new Date(Number(line) * 1000);
    return line.includes(":") ? [{ reference: line.trim(), committed }] : [];
  });
}

/**
 * Removes the tags that nothing needs, and then what no tag leads to. The registry for pushes is away for as long as that
 * takes: a push under way would lose what it has sent.
 * @returns what was removed
 */
export async function collectMirror(now = new Date()): Promise<string[]> {
  const deployed = await deployedImages();
  // Without the history nobody knows what a rollback needs.
  if (deployed === undefined) return [];
  const garbage = unneeded(mirrorTags(), await usedImages(), deployed, now);
  if (garbage.length === 0) return [];
  await controlProgram("stop", "registry-push");
  try {
    await removeTags(garbage, state("config", "registry-push.json"));
  } finally {
    await controlProgram("start", "registry-push");
  }
  return garbage.map(({ reference }) => reference);
}

/**
 * Removes tags from the store, and what no tag leads to then. No registry may take pushes meanwhile.
 * @param settings the configuration of the registry whose store it is
 */
export async function removeTags(tags: Tag[], settings: string): Promise<void> {
  for (const { reference } of tags) {
    const name = nameOf(reference);
    // Not by the registry's API: that removes a digest, and with it every other tag of the same content.
    rmSync(tagDirectory(name, reference.slice(name.length + 1)), { recursive: true, force: true });
  }
  const collect = ["garbage-collect", "--delete-untagged", settings];
  await run("env", ["--ignore-environment", "/usr/bin/docker-registry", ...collect], { quiet: true });
}
