import type { KubernetesObject, Manifest } from "../../../lib/object.ts";
import { bootstrap } from "../../../lib/render/cluster.ts";
import type { Problem, Rule } from "./rule.ts";

const finalizer = "resources-finalizer.argocd.argoproj.io";

export const applicationPolicy: Rule = {
  id: "application-policy",
  isLocal: true,
  summary: "Applications prune, heal and retry alike, and delete their objects when they are deleted",
  explanation: `Applications should differ only in source and destination. Each one syncs automatically with prune, selfHeal and
  retry.refresh (without it, a failed retry keeps an old commit in front of a newer one). Applications have the finalizer
  ${finalizer}, so that deleting one deletes its objects. The root, and the Application with which Argo CD manages
  itself, have no finalizer: deleting them must leave the platform and Argo CD running. The project default allows nothing, so that an
  Application without a project does nothing.`,
  check: (graph) => [
    ...graph
      .ofKind("Application")
      .flatMap((manifest): Problem[] =>
        manifest.foreign ? [] : policyProblems(manifest, graph.layout?.selfManagement),
      ),
    ...graph
      .ofKind("AppProject")
      .filter(({ object }) => object.metadata.name === "default" && !allowsNothing(object))
      .map(
        (manifest): Problem => ({
          manifest,
          path: ["spec"],
          message: "AppProject default allows something",
          fix: "empty its sourceRepos, destinations and whitelists",
        }),
      ),
  ],
};

function policyProblems(manifest: Manifest, selfManagement: string | undefined): Problem[] {
  const { metadata, spec = {} } = manifest.object;
  const { automated, retry } = spec.syncPolicy ?? {};
  const own = `Application ${metadata.name}`;
  const problem = (path: string[], message: string, fix: string): Problem => ({
    manifest,
    path,
    message: `${own} ${message}`,
    fix,
  });
  const problems: Problem[] = [];
  if (automated?.prune !== true)
    problems.push(
      problem(
        ["spec", "syncPolicy", "automated", "prune"],
        "does not prune",
        "set syncPolicy.automated.prune: true",
      ),
    );
  if (automated?.selfHeal !== true) {
    problems.push(
      problem(
        ["spec", "syncPolicy", "automated", "selfHeal"],
        "does not heal",
        "set syncPolicy.automated.selfHeal: true",
      ),
    );
  }
  if (retry?.refresh !== true) {
    problems.push(
      problem(
        ["spec", "syncPolicy", "retry", "refresh"],
        "retries a commit that is no longer the newest",
        "set syncPolicy.retry.refresh: true",
      ),
    );
  }
  const has = metadata.finalizers?.includes(finalizer) === true;
  const isRoot = manifest.application === bootstrap;
  const stays = isRoot || metadata.name === selfManagement;
  if (stays && has) {
    problems.push(
      problem(
        ["metadata", "finalizers"],
        isRoot
          ? "is the root, and deleting it would delete the platform"
          : "would delete Argo CD with itself",
        "remove the finalizer",
      ),
    );
  }
  if (!stays && !has) {
    problems.push(
      problem(
        ["metadata", "finalizers"],
        "leaves its objects behind when it is deleted",
        `add the finalizer ${finalizer}`,
      ),
    );
  }
  return problems;
}

function allowsNothing({ spec = {} }: KubernetesObject): boolean {
  return ["sourceRepos", "destinations", "clusterResourceWhitelist", "namespaceResourceWhitelist"].every(
    (field) => spec[field]?.length === 0,
  );
}
