/** The embedded cluster's directories and addresses. */
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { pinnedVersions as versionsOf } from "../../../lib/repository.ts";

/** Root of the checkout that this code runs from. */
export const repository = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** The name of everything that this cluster creates on the machine: directories, cgroups, namespaces. */
export const project = "logging-platform";

/** Holds everything that keeps running after bootstrap; `destroy` removes it. */
export const stateDirectory = process.env.STATE_DIR ?? `/var/lib/${project}`;

/** Holds compiled tools, images and downloads; only `destroy --purge` removes it. */
export const cacheDirectory = process.env.CACHE_DIR ?? `/var/cache/${project}`;

/** Joins path segments under the state directory. */
export const state = (...parts: string[]): string => join(stateDirectory, ...parts);

/** Joins path segments under the cache directory. */
export const cache = (...parts: string[]): string => join(cacheDirectory, ...parts);

export interface Node {
  name: string;
  address: string;
  podCIDR: string;
}

/** The bridge that connects the nodes. Programs on the host listen only on its address and on loopback. */
export const bridge = { name: "lp0", address: "10.250.0.1", prefix: 24, cidr: "10.250.0.0/24" };

export const nodes: Node[] = [1, 2].map((n) => ({
  name: `node${n}`,
  address: `10.250.0.1${n}`,
  podCIDR: `10.244.${n}.0/24`,
}));

export const podCIDR = "10.244.0.0/16";
export const serviceCIDR = "10.96.0.0/16";
export const apiServiceAddress = "10.96.0.1";
export const dnsAddress = "10.96.0.10";
export const clusterDomain = "cluster.local";
export const apiServerURL = `https://${bridge.address}:6443`;

/** The mirror that both nodes pull every image from. Its port is below 1024, so that no local user can take its place. */
export const registryAddress = `${bridge.address}:505`;

/** The address for pushes to the mirror, which need a password. Pods cannot reach loopback. */
export const pushAddress = "127.0.0.1:505";

/** Days for which an unused image is kept on nodes and in the mirror. */
export const keptImageDays = 30;

/** Registries that the manifests name and the mirror replaces. */
export const mirroredRegistries = ["docker.io", "gcr.io", "ghcr.io", "quay.io", "registry.k8s.io"];

export interface Endpoint {
  name: string;
  variable: string;
  port: number;
  nodePort: number;
  healthPath: string;
  /** NodePort of the health check, if it is a different one. */
  healthPort?: number;
}

/**
 * The endpoints that the load balancer offers on 127.0.0.1, in front of the nodes' NodePorts.
 * @param httpPort the port of the gateway
 */
export const endpoints = (httpPort: number): Endpoint[] => [
  // The gateway; its node ports are those of bootstrap/istio/embedded.yaml.
  {
    name: "app",
    variable: "APP_URL",
    port: httpPort,
    nodePort: 30080,
    healthPath: "/healthz/ready",
    healthPort: 30021,
  },
  { name: "git", variable: "GIT_URL", port: 3000, nodePort: 30300, healthPath: "/healthz" },
  { name: "argocd", variable: "ARGOCD_URL", port: 8080, nodePort: 30808, healthPath: "/healthz" },
  { name: "dashboards", variable: "DASHBOARDS_URL", port: 9091, nodePort: 30900, healthPath: "/.healthz" },
  { name: "logs", variable: "LOGS_URL", port: 9428, nodePort: 30942, healthPath: "/.healthz" },
  { name: "prometheus", variable: "PROMETHEUS_URL", port: 9090, nodePort: 30909, healthPath: "/-/ready" },
];

/** The versions that this checkout's versions.yaml pins. */
export const pinnedVersions = (): Record<string, string> => versionsOf(repository);
