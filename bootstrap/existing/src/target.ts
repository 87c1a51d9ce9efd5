/** Determines which cluster is meant, and in what it differs from Git. */

import { Failure } from "../../../lib/failure.ts";
import { Git } from "../../../lib/git/git.ts";
import type { Overrides } from "../../../lib/render/overrides.ts";
import { readSource } from "../../../lib/render/source.ts";
import { checkout, pinnedVersions } from "../../../lib/repository.ts";
import type { Options } from "../../src/cluster.ts";

/** An existing cluster, with all options decided. */
export interface Target {
  context: string;
  /** The name of its directory in gitops/clusters. */
  cluster: string;
  /** URL of the repository, as Argo CD uses it. */
  repository: string;
  revision: string;
  overrides: Overrides;
  keepIstio: boolean;
  /** True for a kind cluster that deploy.sh creates. */
  kind: boolean;
  /** A file with credentials for the repository. */
  credentials: string | undefined;
}

/**
 * Decides options that were not given. The default repository is the remote `origin`.
 * @param origin the URL of that remote, if the checkout has it
 * @throws Failure if there is no repository, or its URL contains a user name or a password
 */
export function resolveTarget(options: Options, origin: string | undefined): Target {
  const { context = "", cluster = "upstream" } = options;
  const git = readSource(checkout, cluster);
  const repository = options.repo ?? origin;
  const again = `./deploy.sh --context ${context}`;
  if (!repository) {
    throw new Failure(
      "this checkout has no remote named origin, so it is not known which repository Argo CD should read",
      `${again} --repo URL`,
    );
  }
  if (/^https?:\/\/[^/]*@/.test(repository)) {
    // The URL is neither shown nor used, because everybody could read it in the Applications.
    throw new Failure(
      "the repository's URL contains a user name or a password",
      `${again} --repo URL --repo-credentials FILE (and a URL without them)`,
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
 * The URL of the remote `origin` as it was configured, if there is one. This machine's `url.….insteadOf` is ignored,
 * because it says how this machine reaches the repository, and not how Argo CD does.
 * @throws an error with Git's own message if Git cannot read the checkout
 */
export async function originURL(directory = checkout): Promise<string | undefined> {
  const git = new Git(directory);
  const remotes = (await git.run("remote")).split("\n");
  if (!remotes.includes("origin")) return undefined;
  const [configured] = ((await git.try("config", "--get-all", "remote.origin.url")) ?? "").split("\n");
  if (configured && isAddress(configured)) return configured;
  // A shorthand such as `gh:me/fork` becomes an address only when Git has expanded it.
  return (await git.run("remote", "get-url", "origin")) || undefined;
}

/** True for `scheme://…`, `user@host:path` and `host.domain:path`, which mean the same on every machine. */
const isAddress = (url: string): boolean =>
  /^[a-z][a-z\d+.-]*:\/\//i.test(url) || /^([^/:@]+@[^/:]+|[^/:@]+\.[^/:@]+):/.test(url);

/** The pinned version of a tool that an existing cluster needs. */
export const pinned = (name: "istio" | "istio-kubernetes" | "registry"): string =>
  pinnedVersions(checkout)[name] ?? "";
