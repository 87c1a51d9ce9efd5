/** How the gateway is reached, and what Istio has to know of the nodes. */

export interface Node {
  metadata: { name: string; labels?: Record<string, string> };
  spec?: { providerID?: string; unschedulable?: boolean; taints?: { key: string; effect: string }[] };
  status: {
    nodeInfo: { kubeletVersion: string };
    addresses?: { type: string; address: string }[];
  };
}

export interface Service {
  metadata: { name: string; namespace: string };
  spec: {
    type?: string;
    ports?: { name?: string; port: number; nodePort?: number }[];
  };
  status?: { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } };
}

// Of nodes whose provider gives LoadBalancer Services an address; kind and bare metal do not.
const withLoadBalancers =
  /^(aws|azure|digitalocean|equinixmetal|gce|hcloud|ibm|k3s|linode|oci|openstack|ovh|scaleway|vsphere|vultr):\/\//;

/**
 * Whether something gives Services of type LoadBalancer an address: nodes of a cloud or k3s, MetalLB, or a Service that
 * has one.
 */
export function hasLoadBalancer(nodes: Node[], services: Service[], definitions: string[]): boolean {
  return (
    nodes.some(({ spec }) => withLoadBalancers.test(spec?.providerID ?? "")) ||
    definitions.includes("ipaddresspools.metallb.io") ||
    services.some(
      ({ spec, status }) => spec.type === "LoadBalancer" && (status?.loadBalancer?.ingress ?? []).length > 0,
    )
  );
}

/** What Istio calls the platform, where its CNI plugin lies elsewhere there: `values.global.platform`. */
export function istioPlatform(nodes: Node[]): string | undefined {
  const versions = nodes.map(({ status }) => status.nodeInfo.kubeletVersion);
  if (versions.some((version) => version.includes("+k3s"))) return "k3s";
  if (versions.some((version) => version.includes("-gke."))) return "gke";
  if (nodes.some(({ metadata }) => metadata.labels?.["minikube.k8s.io/name"] !== undefined))
    return "minikube";
  return undefined;
}

/** Nodes that an ordinary pod can go to. */
export function workers(nodes: Node[]): Node[] {
  return nodes.filter(
    ({ spec }) =>
      !spec?.unschedulable &&
      !(spec?.taints ?? []).some(({ effect }) => effect === "NoSchedule" || effect === "NoExecute"),
  );
}

/** The address of a gateway for `curl`, or undefined while its load balancer has none. */
export function gatewayURL({ spec, status }: Service, nodes: Node[]): string | undefined {
  const { ip, hostname } = status?.loadBalancer?.ingress?.[0] ?? {};
  if (hostname ?? ip) return `http://${hostname ?? ip}/`;
  if (spec.type === "LoadBalancer") return undefined;
  // The nodes of kind are containers; its port 80 is mapped, see bootstrap/existing/kind.yaml.
  if (nodes.some(({ spec }) => spec?.providerID?.startsWith("kind://"))) return "http://127.0.0.1/";
  const port = spec.ports?.find(({ port }) => port === 80)?.nodePort;
  const address = nodes[0]?.status.addresses?.find(({ type }) => type === "InternalIP")?.address;
  return port && address ? `http://${address}:${port}/` : undefined;
}
