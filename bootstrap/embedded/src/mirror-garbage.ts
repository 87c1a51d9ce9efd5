/**
 * Removes unneeded tags from the mirror. A tag stays while a pod, a workload or this platform's own list of images names it.
 * It also stays for 30 days after it was pushed or a commit named it. The last three tags of an image in Git always stay,
 * because a rollback may need them.
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

/** How many of an image's last tags in Git are kept, however old they are. */
const keptForRollback = 3;

/** A tag of the mirror. The reference has the image's name and the tag. */
export interface Tag {
  reference: string;
  pushed: Date;
}

/** An image that a commit's trailer `Image` names, with the time of the commit. */
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

/** Every tag in the mirror's store. */
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

/** The text of every field `image`, at any depth. This includes the status of pods, which says what is running. */
export function imageFields(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(imageFields);
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "image" && typeof inner === "string" ? [inner] : imageFields(inner),
  );
}

/** The full name of an image that Kubernetes also accepts under a shorter one. */
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

/** The reference that bootstrap pushed last for each of its images. A cluster that is built anew pulls it again. */
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

/** The images that commits in the platform's repository name, newest first; undefined if there is no repository to read. */
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

/** Parses the output of `git log`: a line with a commit's Unix time in seconds, followed by lines with its images. */
export function parseDeployed(text: string): Deployed[] {
  let committed = new Date(0);
  return text.split("\n").flatMap((line) => {
    if (/^\d+$/.test(line)) committed = new Date(Number(line) * 1000);
    return line.includes(":") ? [{ reference: line.trim(), committed }] : [];
  });
}

/**
 * Removes the unneeded tags, and then all content that no tag refers to. The registry for pushes is stopped meanwhile,
 * because a push in progress would lose the layers it has sent.
 * @returns the references that were removed
 */
export async function collectMirror(now = new Date()): Promise<string[]> {
  const deployed = await deployedImages();
  // Without the history it is unknown what a rollback needs.
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
 * Removes tags from the store, and then all content that no tag refers to. No registry may accept pushes meanwhile.
 * @param settings the configuration file of the registry that owns the store
 */
export async function removeTags(tags: Tag[], settings: string): Promise<void> {
  for (const { reference } of tags) {
    const name = nameOf(reference);
    // The registry's API cannot do this: it deletes a digest, and with it every other tag of the same content.
    rmSync(tagDirectory(name, reference.slice(name.length + 1)), { recursive: true, force: true });
  }
  const collect = ["garbage-collect", "--delete-untagged", settings];
  await run("env", ["--ignore-environment", "/usr/bin/docker-registry", ...collect], { quiet: true });
}
