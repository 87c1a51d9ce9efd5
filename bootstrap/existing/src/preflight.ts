/** Checks what a cluster must have, before anything is changed on it. */
import { execa } from "execa";
import type { Diagnosis } from "../../../lib/cluster/doctor.ts";
import { contextArguments, deployCommand, get, kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { imagesIn, parseImage } from "../../../lib/images/names.ts";
import { progress } from "../../../lib/progress.ts";
import { childrenOf } from "../../../lib/render/start.ts";
import { checkout } from "../../../lib/repository.ts";
import { find } from "../../src/kubectl.ts";
import { ownership } from "../../src/stages.ts";
import { hasSecret, readCredentials } from "./credentials.ts";
import { hasLoadBalancer, type Node, type Service, workers } from "./gateway.ts";
import { istioctlVersion } from "./istioctl.ts";
import { keptGateway, meshChecks } from "./mesh.ts";
import { type Answer, ProbeFailure, probe } from "./probe.ts";
import { pinned, type Target } from "./target.ts";

const [oldest = 0, newest = 0] = pinned("istio-kubernetes").split("-").map(Number);
const supported = { oldest, newest };

type Finding = Omit<Diagnosis, "what">;

/** Checks everything and says what to do. The only change is a pod that is removed again. */
export async function preflight(target: Target): Promise<Diagnosis[]> {
  const checks: Record<string, () => Promise<Finding>> = {
    "API server": async () => serverVersion(await kubectlVersion()),
    kubectl: async () => clientVersion(await kubectlVersion()),
    istioctl: () => istioctl(target),
    helm: async () => ({ finding: "not needed: Argo CD renders the chart itself" }),
    permissions,
    nodes: async () => nodeCount((await get<{ items: Node[] }>(["nodes"])).items, target),
    "default storage class": storageClass,
    gateway: () => gateway(target),
    ...(target.keepIstio ? meshChecks(target) : { Istio: istio }),
    "Argo CD": argocd,
    "repository and registry from inside the cluster": () => inside(target),
  };
  const diagnoses: Diagnosis[] = [];
  for (const [what, check] of Object.entries(checks)) {
    progress(what);
    try {
      diagnoses.push({ what, ...(await check()) });
    } catch (error) {
      const { stderr, message, next } = error as Error & { stderr?: string; next?: string };
      const finding = (stderr || message).trim().split("\n").pop() ?? "";
      diagnoses.push({ what, finding, remedy: next ?? kubectlCommand("cluster-info") });
    }
    // If the API server does not answer, no other check can succeed.
    if (what === "API server" && diagnoses[0]?.remedy) break;
  }
  return diagnoses;
}

interface Versions {
  clientVersion: { gitVersion: string };
  serverVersion: { gitVersion: string };
}

const kubectlVersion = async (): Promise<Versions> => {
  const { stdout } = await execa("kubectl", [...contextArguments(), "version", "--output", "json"], {
    timeout: 30_000,
  });
  return JSON.parse(stdout) as Versions;
};

const minorOf = (version: string): number => Number(/^v?1\.(\d+)/.exec(version)?.[1] ?? Number.NaN);

function serverVersion({ serverVersion: { gitVersion } }: Versions): Finding {
  const minor = minorOf(gitVersion);
  const range = `Istio ${pinned("istio")} supports 1.${supported.oldest} to 1.${supported.newest}`;
  if (minor < supported.oldest)
    return {
      finding: `Kubernetes ${gitVersion}; ${range}`,
      remedy: `upgrade the cluster to 1.${supported.oldest}`,
    };
  return {
    finding: `Kubernetes ${gitVersion}${minor > supported.newest ? `, which is newer than tested: ${range}` : ""}`,
  };
}

function clientVersion({ clientVersion: client, serverVersion: server }: Versions): Finding {
  const finding = `${client.gitVersion}, the server has ${server.gitVersion}`;
  const apart = Math.abs(minorOf(client.gitVersion) - minorOf(server.gitVersion));
  return apart > 1
    ? {
        finding,
        remedy: `use kubectl 1.${minorOf(server.gitVersion)} from https://kubernetes.io/docs/tasks/tools (or one minor version apart)`,
      }
    : { finding };
}

async function istioctl({ keepIstio }: Target): Promise<Finding> {
  if (keepIstio) return { finding: "not needed: Istio stays unchanged" };
  const found = await istioctlVersion("istioctl");
  const wanted = pinned("istio");
  return {
    finding:
      found === wanted ? `${found} on the PATH` : `${found ?? "none"} on the PATH, ${wanted} will be fetched`,
  };
}

// Istio and Argo CD have roles that may do anything, and only a user with all rights of a role may create it.
const needed: [verb: string, resource: string][] = [
  ["create", "namespaces"],
  ["create", "customresourcedefinitions.apiextensions.k8s.io"],
  ["create", "clusterroles.rbac.authorization.k8s.io"],
  ["create", "clusterrolebindings.rbac.authorization.k8s.io"],
  ["create", "mutatingwebhookconfigurations.admissionregistration.k8s.io"],
  ["create", "validatingwebhookconfigurations.admissionregistration.k8s.io"],
  ["create", "deployments.apps"],
  ["create", "daemonsets.apps"],
  ["create", "secrets"],
  ["create", "pods"],
  ["*", "*"],
];

async function permissions(): Promise<Finding> {
  const refused: string[] = [];
  for (const [verb, resource] of needed) {
    const args = [...contextArguments(), "auth", "can-i", verb, resource, "--all-namespaces"];
    const { stdout, exitCode, stderr } = await execa("kubectl", args, { reject: false, timeout: 30_000 });
    if (exitCode !== 0 && stdout.trim() !== "no")
      throw new Error(stderr || `kubectl auth can-i ended with ${exitCode}`);
    if (stdout.trim() !== "yes") refused.push(verb === "*" ? "everything" : `${verb} ${resource}`);
  }
  return refused.length === 0
    ? { finding: "sufficient" }
    : {
        finding: `this user may not: ${refused.join(", ")}`,
        remedy: "use a context whose user is bound to the ClusterRole cluster-admin",
      };
}

function nodeCount(nodes: Node[], { overrides }: Target): Finding {
  const able = workers(nodes).length;
  const finding = `${nodes.length}, of which ${able} can run ordinary pods`;
  if (able === 0) return { finding, remedy: kubectlCommand("get", "nodes") };
  if (overrides.ha && able < 3)
    return { finding: `${finding}; Argo CD's Redis needs three`, remedy: "add nodes, or omit --ha" };
  return { finding };
}

async function storageClass(): Promise<Finding> {
  const { items } = await get<{
    items: { metadata: { name: string; annotations?: Record<string, string> }; provisioner: string }[];
  }>(["storageclasses"]);
  const chosen = items.find(
    ({ metadata }) => metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true",
  );
  if (chosen) return { finding: `${chosen.metadata.name} (${chosen.provisioner})` };
  const mark = `'{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}'`;
  return items[0]
    ? {
        finding: `no default among ${items.map(({ metadata }) => metadata.name).join(", ")}`,
        remedy: kubectlCommand("patch", "storageclass", items[0].metadata.name, "-p", mark),
      }
    : {
        finding: "there is no storage class",
        remedy: "add a provisioner, such as local-path-provisioner",
      };
}

/** Facts of the cluster that decide how the gateway is reached. */
export async function surroundings(): Promise<{ nodes: Node[]; loadBalancer: boolean; gateways: Service[] }> {
  const [nodes, services, definitions] = await Promise.all([
    get<{ items: Node[] }>(["nodes"]),
    get<{ items: Service[] }>(["services", "--all-namespaces"]),
    get<{ items: { metadata: { name: string } }[] }>(["customresourcedefinitions"]),
  ]);
  const gateways = await get<{ items: Service[] }>([
    "services",
    "--all-namespaces",
    "-l",
    "istio=ingressgateway",
  ]);
  const names = definitions.items.map(({ metadata }) => metadata.name);
  return {
    nodes: nodes.items,
    loadBalancer: hasLoadBalancer(nodes.items, services.items, names),
    gateways: gateways.items,
  };
}

async function gateway({ keepIstio }: Target): Promise<Finding> {
  const { nodes, loadBalancer, gateways } = await surroundings();
  if (keepIstio) return keptGateway(gateways, nodes);
  return {
    finding: loadBalancer ? "gets an address from a load balancer" : "uses a port of the nodes (30080)",
  };
}

async function istio(): Promise<Finding> {
  const istiod = await find(["deployment", "istiod", "-n", "istio-system"]);
  if (!istiod) return { finding: "not installed yet" };
  const [key = "", value] = ownership.split("=");
  const namespace = await find<{ metadata: { labels?: Record<string, string> } }>([
    "namespace",
    "istio-system",
  ]);
  return namespace?.metadata.labels?.[key] === value
    ? { finding: "present, installed by deploy.sh" }
    : {
        finding: "present, but not installed by deploy.sh: it would be changed",
        remedy: `${deployCommand("--keep-istio")} (or remove it first)`,
      };
}

async function argocd(): Promise<Finding> {
  const server = await find(["deployment", "argocd-server", "-n", "argocd"]);
  if (!server) return { finding: "not installed yet" };
  const namespace = await find<{ metadata: { labels?: Record<string, string> } }>(["namespace", "argocd"]);
  return namespace?.metadata.labels?.["app.kubernetes.io/part-of"] === "argocd"
    ? { finding: "present, installed by deploy.sh" }
    : {
        finding: "present, but not installed by deploy.sh: its settings would be replaced",
        remedy: "use another cluster, or remove that Argo CD",
      };
}

/** The image that the probe runs: that of services/app, as Git names it, from the chosen registry. */
export async function appImage({ cluster, overrides }: Target): Promise<string> {
  const { applications } = await childrenOf(checkout, cluster);
  const image = applications
    .flatMap(({ manifests }) => manifests.flatMap(({ object }) => imagesIn(object)))
    .find((candidate) => parseImage(candidate).name.endsWith("/app"));
  if (!image) throw new Error("no Application runs an image of services/app");
  return overrides.registry ? `${overrides.registry}/${image.slice(image.lastIndexOf("/") + 1)}` : image;
}

/** The prefix of the images in this repository. On Docker Hub, anybody may own that name. */
const nobodys = "docker.io/logging-platform/";

async function inside(target: Target): Promise<Finding> {
  const image = await appImage(target);
  const { repository, context, overrides } = target;
  if (!overrides.registry && image.startsWith(nobodys)) {
    // The image is not even probed, because the pod would run whatever is there.
    return {
      finding: `the images of services/* would come from ${nobodys.slice(0, -1)}, where the owner of that name decides what runs`,
      remedy: `push them to your own registry and name it: ./deploy.sh --context ${context} --registry HOST/PATH`,
    };
  }
  let answer: Answer;
  try {
    answer = await probe(image, repository);
  } catch (error) {
    if (!(error instanceof ProbeFailure)) throw error;
    if (error.part === "registry") {
      return {
        finding: `the image ${image} cannot be pulled: ${error.message}`,
        remedy: `npm run release -- app --push (or ${deployCommand("--registry HOST/PATH")})`,
      };
    }
    if (error.part === "repository") {
      return {
        finding: `${repository} cannot be reached: ${error.message}`,
        remedy: `${deployCommand("--repo URL")} (with a URL that pods can reach)`,
      };
    }
    return { finding: error.message, remedy: kubectlCommand("describe", "nodes") };
  }
  if (answer === "open") return { finding: `${repository} can be read, ${image} can be pulled` };
  if (readCredentials(target) || (await hasSecret(repository)))
    return { finding: `${repository} asks for credentials, which are present; ${image} can be pulled` };
  return {
    finding: `${repository} asks for credentials, but there are none`,
    remedy: `${deployCommand("--repo-credentials FILE")} (or GIT_USERNAME and GIT_PASSWORD)`,
  };
}
