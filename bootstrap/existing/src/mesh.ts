/** Checks whether an existing Istio, which `--keep-istio` leaves unchanged, can do what the platform needs from a mesh. */
import type { Diagnosis } from "../../../lib/cluster/doctor.ts";
import { contextArguments, kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { childrenOf } from "../../../lib/render/start.ts";
import { checkout } from "../../../lib/repository.ts";
import { find, findAll } from "../../src/kubectl.ts";
import { gatewayURL, type Node, type Service } from "./gateway.ts";
import { pinned, type Target } from "./target.ts";

type Finding = Omit<Diagnosis, "what">;

interface Istiod {
  metadata: { labels?: Record<string, string> };
  spec?: {
    template: {
      metadata?: { labels?: Record<string, string> };
      spec: { containers: { name: string; image: string; env?: { name: string; value?: string }[] }[] };
    };
  };
}

const istiod = (): Promise<Istiod | undefined> =>
  find<Istiod>(["deployment", "istiod", "-n", "istio-system"]);
const leave = "(or omit --keep-istio)";

/** The checks of a mesh that is kept, by the thing that they check. */
export function meshChecks(target: Target): Record<string, () => Promise<Finding>> {
  return {
    Istio: async () =>
      (await istiod())
        ? { finding: "present, left unchanged" }
        : { finding: "istio-system has no Deployment istiod", remedy: "omit --keep-istio" },
    "version of Istio": async () => meshVersion(await istiod()),
    "settings of istiod": async () => istiodSettings(await istiod()),
    "Istio's CNI plugin": cniPlugin,
    "injection of sidecars": injection,
    "identity of the gateway": () => gatewayIdentity(target),
  };
}

/** The minor version of an Istio 1.x, from its image or its labels; undefined if neither has it. */
function minorOf(mesh: Istiod | undefined): { version: string; minor: number } | undefined {
  const { metadata, spec } = mesh ?? {};
  const labels = { ...spec?.template.metadata?.labels, ...metadata?.labels };
  const image = spec?.template.spec.containers.find(({ name }) => name === "discovery")?.image;
  const said = [
    /:([^:/@]+)(?:@.*)?$/.exec(image ?? "")?.[1],
    labels["app.kubernetes.io/version"],
    labels["operator.istio.io/version"],
    labels["helm.sh/chart"]?.replace(/^[a-z-]+-/, ""),
  ];
  for (const version of said) {
    const minor = /^v?1\.(\d+)/.exec(version ?? "")?.[1];
    if (version && minor) return { version, minor: Number(minor) };
  }
  return undefined;
}

/** Istio supports a release until the second one after it. */
function meshVersion(mesh: Istiod | undefined): Finding {
  const found = minorOf(mesh);
  if (!found) return { finding: "its Deployment does not state it" };
  const newest = Number(/^1\.(\d+)/.exec(pinned("istio"))?.[1]);
  const range = `1.${newest - 2} to 1.${newest} are supported`;
  if (found.minor < newest - 2)
    return { finding: `${found.version}; ${range}`, remedy: `upgrade it to ${pinned("istio")} ${leave}` };
  return {
    finding: `${found.version}${found.minor > newest ? `, which is newer than tested: ${range}` : ""}`,
  };
}

// The platform cannot work with these settings.
const hindrances = [
  { name: "ENABLE_NATIVE_SIDECARS", value: "false", why: "pods of Jobs would never end" },
  {
    name: "PILOT_SCOPE_GATEWAY_TO_NAMESPACE",
    value: "true",
    why: "the Gateway in logging would select no pod",
  },
];

function istiodSettings(mesh: Istiod | undefined): Finding {
  const set = mesh?.spec?.template.spec.containers.flatMap(({ env = [] }) => env) ?? [];
  const wrong = hindrances.find(({ name, value }) =>
    set.some((one) => one.name === name && one.value?.toLowerCase() === value),
  );
  if (!wrong) return { finding: "no conflicts" };
  return {
    finding: `${wrong.name} is ${wrong.value}: ${wrong.why}`,
    remedy: `${kubectlCommand("-n", "istio-system", "set", "env", "deployment/istiod", `${wrong.name}-`)} ${leave}`,
  };
}

interface DaemonSet {
  metadata: { name: string; namespace: string };
  status?: { desiredNumberScheduled?: number; numberReady?: number };
}

async function cniPlugin(): Promise<Finding> {
  const found = await findAll<DaemonSet>(["daemonsets", "-A", "-l", "k8s-app=istio-cni-node"]);
  if (!found) return { finding: "could not be read from the cluster" };
  const [plugin] = found;
  if (!plugin)
    return {
      finding: "not installed, and pods in a restricted namespace cannot redirect their traffic without it",
      remedy: `enable components.cni in the way that mesh was installed ${leave}`,
    };
  const { name, namespace } = plugin.metadata;
  const { desiredNumberScheduled: wanted = 0, numberReady: ready = 0 } = plugin.status ?? {};
  const finding = `${namespace}/${name} is ready on ${ready} of ${wanted} nodes`;
  return ready < wanted
    ? { finding, remedy: kubectlCommand("-n", namespace, "describe", "daemonset", name) }
    : { finding };
}

interface Webhooks {
  metadata: { name: string };
  webhooks?: {
    namespaceSelector?: { matchExpressions?: { key: string; operator: string; values?: string[] }[] };
  }[];
}

async function injection(): Promise<Finding> {
  const label = "istio-injection=enabled";
  const found = await findAll<Webhooks>(["mutatingwebhookconfigurations", "-l", "app=sidecar-injector"]);
  if (!found) return { finding: "could not be read from the cluster" };
  const injector = found.find(({ webhooks = [] }) =>
    webhooks.some(({ namespaceSelector }) =>
      namespaceSelector?.matchExpressions?.some(
        ({ key, operator, values }) =>
          key === "istio-injection" && operator === "In" && values?.includes("enabled"),
      ),
    ),
  );
  return injector
    ? { finding: `${injector.metadata.name} handles namespaces with ${label}` }
    : {
        finding: `no webhook handles namespaces with ${label}, as in a mesh that has only revisions`,
        remedy: `${["istioctl", ...contextArguments()].join(" ")} tag set default --revision NAME ${leave}`,
      };
}

/** Chooses the platform's gateway among those of a cluster: the one in Istio's own namespace is preferred. */
export function chooseGateway(gateways: Service[]): Service | undefined {
  return gateways.find(({ metadata }) => metadata.namespace === "istio-system") ?? gateways[0];
}

/** Checks the gateway of a mesh that is kept. */
export function keptGateway(gateways: Service[], nodes: Node[]): Finding {
  const service = chooseGateway(gateways);
  if (!service)
    return {
      finding: "no Service has the label istio=ingressgateway, which the platform's Gateway selects",
      remedy: `add an ingress gateway to istio-system ${leave}`,
    };
  const { name, namespace } = service.metadata;
  const finding = `Service ${namespace}/${name}: ${gatewayURL(service, nodes)}`;
  return namespace === "istio-system"
    ? { finding }
    : {
        finding: `${finding}, but the platform lets only a gateway in istio-system call the app`,
        remedy: `add an ingress gateway to istio-system ${leave}`,
      };
}

interface GatewayPod {
  metadata: { namespace: string };
  spec: { serviceAccountName?: string };
}

/** The AuthorizationPolicy names who may call the app. A gateway with another service account gets 403. */
async function gatewayIdentity({ cluster }: Target): Promise<Finding> {
  const pods = await findAll<GatewayPod>(["pods", "-A", "-l", "istio=ingressgateway"]);
  if (!pods) return { finding: "could not be read from the cluster" };
  const { applications } = await childrenOf(checkout, cluster);
  const allowed = JSON.stringify(
    applications.flatMap(({ manifests }) =>
      manifests.map(({ object }) => object).filter(({ kind }) => kind === "AuthorizationPolicy"),
    ),
  );
  const identities = [
    ...new Set(pods.map(({ metadata, spec }) => `ns/${metadata.namespace}/sa/${spec.serviceAccountName}`)),
  ];
  // Another check reports a missing gateway.
  if (identities.length === 0) return { finding: "no gateway pod is running" };
  const known = identities.find((identity) => allowed.includes(`cluster.local/${identity}"`));
  return known
    ? { finding: `${known}, which may call the app` }
    : {
        finding: `${identities.join(", ")}, which no AuthorizationPolicy of the platform allows to call the app`,
        remedy: `run it as istio-ingressgateway-service-account in istio-system ${leave}`,
      };
}
