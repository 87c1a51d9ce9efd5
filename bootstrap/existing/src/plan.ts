/** Says what bootstrap would do on an existing cluster. */
import { servicesRegistry } from "../../../lib/render/overrides.ts";
import { readSource } from "../../../lib/render/source.ts";
import { childrenOf } from "../../../lib/render/start.ts";
import { checkout, serviceNames } from "../../../lib/repository.ts";
import { clusterName, registry } from "./kind.ts";
import { pinned, type Target } from "./target.ts";

/** One line for each thing that would be done. This does not contact the cluster. */
export async function plan(target: Target): Promise<string[]> {
  const { cluster, context, repository, revision, overrides } = target;
  const git = readSource(checkout, cluster);
  const { applications, repository: files } = await childrenOf(checkout, cluster);
  const images = servicesRegistry(applications, serviceNames(files));
  const instead = (now: string | undefined, there: string | undefined): string =>
    now === undefined || now === there ? "as Git says" : `instead of ${there}`;
  return [
    ...(target.kind
      ? [
          `create the kind cluster ${clusterName} and the registry ${registry.address}, unless they exist`,
          "build the images of services/* and push them to that registry",
        ]
      : []),
    `check the cluster of context ${context}, with a pod in the namespace platform-preflight that is removed again`,
    target.keepIstio ? "leave Istio unchanged" : `install Istio ${pinned("istio")} with istioctl`,
    `apply ${overrides.ha ? "a highly available " : ""}Argo CD to the namespace argocd`,
    `have it read ${repository} (${instead(repository, git.repository)})`,
    `have it follow ${revision} (${instead(revision, git.branch)})`,
    `pull the images of services/* from ${overrides.registry ?? images} (${instead(overrides.registry, images)})`,
    `apply its root Application, which creates: ${applications.map(({ name }) => name).join(", ")}`,
    "wait until all of them run the commit that Argo CD reads, and the app answers through the gateway",
  ];
}
