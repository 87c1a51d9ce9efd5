/** The stages of a cluster at hand, in the order in which deploy.sh calls them. Each may be run again. */
import { join } from "node:path";
import { refreshAnnotation } from "../../../lib/cluster/applications.ts";
import { contextArguments, deployCommand, get, kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { waitForCommit } from "../../../lib/cluster/wait.ts";
import { Failure, until } from "../../../lib/failure.ts";
import { type KubernetesObject, parseObjects } from "../../../lib/object.ts";
import { run, tailCommand } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { renderInstall, renderRoot } from "../../../lib/render/start.ts";
import { checkout } from "../../../lib/repository.ts";
import { apply, deadline, kubectl, troubleIn, waitForWorkloads } from "./cluster.ts";
import { readCredentials, repositorySecret } from "./credentials.ts";
import { gatewayURL, istioPlatform, type Service } from "./gateway.ts";
import { findIstioctl } from "./istioctl.ts";
import { chooseGateway } from "./mesh.ts";
import { ownership, surroundings } from "./preflight.ts";
import type { Target } from "./target.ts";

/** Installs Istio, or looks whether the one that is left alone is ready. */
export async function installIstio({ keepIstio }: Target): Promise<void> {
  if (keepIstio) return waitForWorkloads("istio-system", ["deployment/istiod"], 60);
  const program = await findIstioctl();
  progress("istioctl install");
  try {
    await run(program, await installArguments());
  } catch (error) {
    const trouble = await troubleIn("istio-system");
    throw new Failure(`istioctl install failed: ${trouble ?? (error as Error).message}`, tailCommand());
  }
  // By this `destroy` knows that it may remove it.
  await kubectl(["label", "namespace", "istio-system", "--overwrite", ownership]);
  await waitForWorkloads("istio-system", ["deployment/istiod", "daemonset/istio-cni-node"], 180);
  await waitForWorkloads("istio-system", ["deployment/istio-ingressgateway"], 180);
}

async function installArguments(): Promise<string[]> {
  const { nodes, loadBalancer } = await surroundings();
  const platform = istioPlatform(nodes);
  const files = ["operator.yaml", ...(loadBalancer ? [] : ["node-port.yaml"])];
  return [
    "install",
    ...contextArguments(),
    "--skip-confirmation",
    "--verify",
    "--readiness-timeout",
    deadline(300),
    ...files.flatMap((file) => ["--filename", join(checkout, "bootstrap/istio", file)]),
    ...(platform ? ["--set", `values.global.platform=${platform}`] : []),
  ];
}

/** Applies Argo CD, hands it the repository's credentials, and waits until it is ready. */
export async function installArgocd(target: Target): Promise<void> {
  const { cluster, wishes, repository } = target;
  progress("rendering Argo CD");
  const text = await renderInstall(checkout, cluster, wishes.ha === true);
  progress("applying Argo CD");
  await apply(text);
  const credentials = readCredentials(target);
  if (credentials) await apply(repositorySecret(repository, credentials));
  await waitForWorkloads("argocd", workloadsIn(parseObjects(text)), 300);
}

/** The workloads among objects, as kubectl names them. */
export function workloadsIn(objects: KubernetesObject[]): string[] {
  return objects
    .filter(({ kind }) => ["DaemonSet", "Deployment", "StatefulSet"].includes(kind))
    .map(({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name}`);
}

interface RootApplication {
  metadata: { annotations?: Record<string, string> };
  status?: {
    sync?: { revision?: string };
    conditions?: { type: string; message: string }[];
  };
}

/**
 * Applies the AppProjects and the root Application and waits until every Application runs the commit that Argo CD reads.
 * @returns that commit
 */
export async function deployApplications({ cluster, wishes }: Target): Promise<string> {
  await apply(await renderRoot(checkout, cluster, wishes));
  // What the root said before may be of an earlier source: the annotation goes when it has looked again.
  await kubectl([
    "-n",
    "argocd",
    "annotate",
    "application",
    "root",
    "--overwrite",
    `${refreshAnnotation}=hard`,
  ]);
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
  await waitForCommit(commit ?? "", Number(process.env.WAIT_SECONDS ?? 900));
  return commit ?? "";
}

/** The Service of the gateway that the platform's Gateway selects. @throws Failure where there is none */
async function gatewayService(): Promise<{ service: Service; url: string | undefined }> {
  const { gateways, nodes } = await surroundings();
  const service = chooseGateway(gateways);
  if (!service) throw new Failure("no Service has the label istio=ingressgateway", deployCommand("doctor"));
  return { service, url: gatewayURL(service, nodes) };
}

/** Asks the app through the gateway. The API server passes the request on, so this machine need not reach the gateway. */
export async function awaitAnswer(): Promise<void> {
  const { service } = await gatewayService();
  const { name, namespace } = service.metadata;
  const path = `/api/v1/namespaces/${namespace}/services/http:${name}:80/proxy/status`;
  await until(
    `GET /status through ${namespace}/${name}`,
    120,
    async () => {
      const answer = await kubectl(["get", "--raw", path]);
      return answer.includes('"ok"') ? undefined : `answered ${answer.slice(0, 200)}`;
    },
    kubectlCommand("-n", "logging", "get", "pods"),
  );
}

/** Where everything is, one line each. */
export async function summary({ context }: Target): Promise<string[]> {
  const { service, url } = await gatewayService();
  const { name, namespace } = service.metadata;
  const k = kubectlCommand();
  const rows = {
    platform: url
      ? `curl ${url}`
      : `its load balancer has no address yet: ${k} -n ${namespace} get service ${name}`,
    "Argo CD": `${k} -n argocd port-forward service/argocd-server 8443:443, then https://127.0.0.1:8443`,
    password: `user admin: ${k} -n argocd get secret argocd-initial-admin-secret -o jsonpath='{.data.password}' | base64 -d`,
    status: `./deploy.sh status --context ${context}`,
  };
  return Object.entries(rows).map(([what, text]) => `  ${what.padEnd(10)} ${text}`);
}
