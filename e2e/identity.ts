/** What a platform is, by what another one could not have: the ids of its objects. */
import { get, list } from "./kubectl.ts";

/** Names and ids of objects, sorted; `args` as `kubectl get` takes them. */
export const uids = async (...args: string[]): Promise<string[]> =>
  (await list(...args)).map(({ metadata }) => `${metadata.name} ${metadata.uid}`).sort();

/** The ids of the cluster, its nodes, the Applications and the volumes: equal for one and the same platform. */
export const identity = async (): Promise<object> => ({
  cluster: (await get("namespace", "kube-system")).metadata.uid,
  nodes: await uids("nodes"),
  applications: await uids("applications", "--namespace", "argocd"),
  volumes: await uids("persistentvolumes"),
});
