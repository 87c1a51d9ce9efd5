/** Says how the gateway is reached, and what Istio must know about the nodes. */

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

// Nodes with these provider ids give LoadBalancer Services an address. Those of kind and bare metal do not.
const withLoadBalancers =
  /^(aws|azure|digitalocean|equinixmetal|gce|hcloud|ibm|k3s|linode|oci|openstack|ovh|scaleway|vsphere|vultr):\/\//;

/**
 * True if Services of type LoadBalancer get an address: from a cloud, k3s or MetalLB, or because one already has an address.
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

/** The value of Istio's `values.global.platform`, for platforms on which CNI plugins have another directory. */
export function istioPlatform(nodes: Node[]): string | undefined {
  const versions = nodes.map(({ status }) => status.nodeInfo.kubeletVersion);
  if (versions.some((version) => version.includes("+k3s"))) return "k3s";
  if (versions.some((version) => version.includes("-gke."))) return "gke";
  if (nodes.some(({ metadata }) => metadata.labels?.["minikube.k8s.io/name"] !== undefined))
    return "minikube";
  return undefined;
}

/** Nodes on which an ordinary pod can be scheduled. */
export function workers(nodes: Node[]): Node[] {
  return nodes.filter(
    ({ spec }) =>
      !spec?.unschedulable &&
      !(spec?.taints ?? []).some(({ effect }) => effect === "NoSchedule" || effect === "NoExecute"),
  );
}

/** The URL of a gateway for `curl`, or undefined while its load balancer has no address. */
export function gatewayURL({ spec, status }: Service, nodes: Node[]): string | undefined {
  const { ip, hostname } = status?.loadBalancer?.ingress?.[0] ?? {};
  if (hostname ?? ip) return `http://${hostname ?? ip}/`;
  if (spec.type === "LoadBalancer") return undefined;
  // The nodes of kind are containers, and bootstrap/existing/kind.yaml maps port 80.
  if (nodes.some(({ spec }) => spec?.providerID?.startsWith("kind://"))) return "http://127.0.0.1/";
  const port = spec.ports?.find(({ port }) => port === 80)?.nodePort;
  const address = nodes[0]?.status.addresses?.find(({ type }) => type === "InternalIP")?.address;
  return port && address ? `http://${address}:${port}/` : undefined;
}
