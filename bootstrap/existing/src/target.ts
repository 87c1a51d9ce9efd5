/** Which cluster is meant, and what it is to have otherwise than Git says. */

import { Failure } from "../../../lib/failure.ts";
import { Git } from "../../../lib/git/git.ts";
import type { Overrides } from "../../../lib/render/overrides.ts";
import { readSource } from "../../../lib/render/source.ts";
import { checkout, pinnedVersions } from "../../../lib/repository.ts";
import type { Options } from "../../src/cluster.ts";

/** An existing cluster, with everything decided. */
export interface Target {
  context: string;
  /** The directory of gitops/clusters. */
  cluster: string;
  /** URL of the repository, as Argo CD is told it. */
  repository: string;
  revision: string;
  overrides: Overrides;
  keepIstio: boolean;
  /** The cluster is one of kind that deploy.sh creates. */
  kind: boolean;
  /** A file with credentials for the repository. */
  credentials: string | undefined;
}

/**
 * Decides what an option leaves open: the repository is the remote `origin`.
 * @param origin what the checkout calls so
 * @throws Failure where there is neither, or its URL holds a password
 */
export function resolveTarget(options: Options, origin: string | undefined): Target {
  const { context = "", cluster = "upstream" } = options;
  const git = readSource(checkout, cluster);
  const repository = options.repo ?? origin;
  const again = `./deploy.sh --context ${context}`;
  if (!repository) {
    throw new Failure(
      "this checkout has no remote named origin, so it is not known which repository Argo CD is to read",
      `${again} --repo URL`,
    );
  }
  if (/^https?:\/\/[^/]*@/.test(repository)) {
    // Neither shown nor used: it would stand in the Applications for everybody to read.
    throw new Failure(
      "the repository's URL holds a user name or a password",
      `${again} --repo URL --repo-credentials FILE (with a URL without them)`,
    );
  }
  const revision = options.revision ?? git.branch;
  return {
    context,
    cluster,
    repository,
    revision,
    overrides: {
      repository,
      revision,
      ...(options.registry && { registry: options.registry.replace(/\/+$/, "") }),
      ...(options.ha && { ha: true }),
    },
    keepIstio: options.keepIstio === true,
    kind: options.kind === true,
    credentials: options.repoCredentials,
  };
}

/**
 * The URL of the remote `origin` as it was configured, if there is one. What this machine's `url.….insteadOf` makes of
 * it says how this machine reaches the repository, not how Argo CD does.
 * @throws with Git's own words where it does not read the checkout
 */
export async function originURL(directory = checkout): Promise<string | undefined> {
  const git = new Git(directory);
  const remotes = (await git.run("remote")).split("\n");
  if (!remotes.includes("origin")) return undefined;
  const [configured] = ((await git.try("config", "--get-all", "remote.origin.url")) ?? "").split("\n");
  if (configured && isAddress(configured)) return configured;
  // A shorthand such as `gh:me/fork` is an address only once Git has spelt it out.
  return (await git.run("remote", "get-url", "origin")) || undefined;
}

/** True for `scheme://…`, `user@host:path` and `host.domain:path`, which mean the same on every machine. */
const isAddress = (url: string): boolean =>
  /^[a-z][a-z\d+.-]*:\/\//i.test(url) || /^([^/:@]+@[^/:]+|[^/:@]+\.[^/:@]+):/.test(url);

/** The pins that the path of an existing cluster uses. */
export const pinned = (name: "istio" | "istio-kubernetes" | "registry"): string =>
  pinnedVersions(checkout)[name] ?? "";
