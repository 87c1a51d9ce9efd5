/** The stages that every cluster goes through. deploy.sh lists the titles of all of them, in their order. */
import { refreshAnnotation } from "../../lib/cluster/applications.ts";
import { contextArguments, get, kubectlCommand } from "../../lib/cluster/kubectl.ts";
import { ensureRepoServerTls } from "../../lib/cluster/repo-server-tls.ts";
import { waitForCommit } from "../../lib/cluster/wait.ts";
import { Failure, until } from "../../lib/failure.ts";
import { type KubernetesObject, parseObjects } from "../../lib/object.ts";
import { run, tailCommand } from "../../lib/process.ts";
import { progress } from "../../lib/progress.ts";
import { renderInstall, renderRoot } from "../../lib/render/start.ts";
import { checkout } from "../../lib/repository.ts";
import type { Cluster, Stage } from "./cluster.ts";
import {
  apply,
  deadline,
  kubectl,
  kubectlQuietly,
  troubleIn,
  waitForWorkloads,
  workloadsIn,
} from "./kubectl.ts";
import { ensureRedisPassword } from "./redis-password.ts";

/** The label of objects that deploy.sh installed and `destroy` may remove. */
export const ownership = "app.kubernetes.io/managed-by=logging-platform";

/** All stages of a cluster by their titles, and the commit that they deployed. */
export class Pipeline {
  /** The commit that the Applications run; undefined until they do. */
  commit: string | undefined;
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** @throws Failure for a title that neither this cluster nor all clusters have */
  stage(title: string): Stage {
    const cluster = this.#cluster;
    const common: Record<string, Stage> = {
      Istio: () => installIstio(cluster),
      "Argo CD": () => installArgocd(cluster),
      Applications: async () => {
        this.commit = await deployApplications(cluster);
      },
      "Platform answers": () => awaitAnswer(cluster),
    };
    const stage = cluster.stages[title] ?? common[title];
    if (!stage)
      throw new Failure(`deploy.sh lists a stage ${title} that the cluster ${cluster.name} does not have`);
    return stage;
  }
}

/** Installs Istio. With `keepIstio` it only waits until the existing one is ready. */
async function installIstio(cluster: Cluster): Promise<void> {
  if (cluster.keepIstio) return waitForWorkloads("istio-system", ["deployment/istiod"], 60);
  await cluster.provide("istio");
  const { program, install } = await cluster.istioctl();
  progress("istioctl install");
  const always = ["--skip-confirmation", "--verify", "--readiness-timeout", deadline(300)];
  try {
    await run(program, ["install", ...contextArguments(), ...always, ...install]);
  } catch (error) {
    const trouble = await troubleIn("istio-system");
    throw new Failure(`istioctl install failed: ${trouble ?? (error as Error).message}`, tailCommand());
  }
  // This label tells `destroy` that it may remove Istio.
  await kubectl(["label", "namespace", "istio-system", "--overwrite", ownership]);
  const workloads = ["deployment/istiod", "daemonset/istio-cni-node", "deployment/istio-ingressgateway"];
  await waitForWorkloads("istio-system", workloads, 180);
}

/** Applies Argo CD, gives it the repository's credentials, and waits until it is ready. */
async function installArgocd(cluster: Cluster): Promise<void> {
  await cluster.provide("argocd");
  progress("rendering Argo CD");
  const text = await renderInstall(checkout, cluster.name, cluster.overrides.ha === true);
  progress("applying Argo CD");
  // Its parts look for the certificate and the password when they start.
  await ensureRepoServerTls(kubectlQuietly);
  await ensureRedisPassword();
  await apply(text);
  await cluster.applyCredentials();
  await waitForWorkloads("argocd", workloadsIn(parseObjects(text)), 300);
}

/**
 * Applies the AppProjects and the root Application and waits until every Application runs the commit that counts.
 * @returns that commit
 */
async function deployApplications(cluster: Cluster): Promise<string> {
  await cluster.provide("applications");
  const root = await renderRoot(checkout, cluster.name, cluster.overrides);
  await ensureNamespaces(parseObjects(root));
  await apply(root);
  const commit = cluster.publishedCommit() ?? (await commitOfRoot());
  await waitForCommit(commit, 900, checkout);
  // A sync that began under earlier projects may have pruned what has moved from an Application to here.
  await apply(root);
  return commit;
}

/** Creates the namespaces that these objects are in. Their Applications add the labels. */
async function ensureNamespaces(objects: KubernetesObject[]): Promise<void> {
  const there = await get<{ items: KubernetesObject[] }>(["namespaces"]);
  const missing = new Set(objects.flatMap(({ metadata }) => metadata.namespace ?? []));
  for (const { metadata } of there.items) missing.delete(metadata.name);
  for (const name of missing) await kubectl(["create", "namespace", name]);
}

interface RootApplication {
  metadata: { annotations?: Record<string, string> };
  status?: {
    sync?: { revision?: string };
    conditions?: { type: string; message: string }[];
  };
}

async function commitOfRoot(): Promise<string> {
  // The root's status may be about an earlier source. The annotation disappears when Argo CD has looked again.
  const refresh = ["annotate", "application", "root", "--overwrite", `${refreshAnnotation}=hard`];
  await kubectl(["-n", "argocd", ...refresh]);
  let commit: string | undefined;
  await until(
    "Application root",
    120,
    async () => {
      const { metadata, status } = await get<RootApplication>(["application", "root", "-n", "argocd"]);
      const wrong = status?.conditions?.find(({ type }) => /Error$/.test(type));
      if (wrong) return `${wrong.type}: ${wrong.message}`;
      if (metadata.annotations?.[refreshAnnotation] !== undefined) return "has not read the repository yet";
      commit = status?.sync?.revision;
      return commit ? undefined : "knows no commit yet";
    },
    kubectlCommand("-n", "argocd", "describe", "application", "root"),
  );
  return commit ?? "";
}

async function awaitAnswer(cluster: Cluster): Promise<void> {
  const { what, next } = await cluster.question();
  await until(what, 120, () => cluster.ask(), next);
}
