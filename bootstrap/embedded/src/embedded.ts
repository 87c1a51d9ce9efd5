/** The cluster that bootstrap assembles on this machine, with the stages that other clusters do not have. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Diagnosis } from "../../../lib/cluster/doctor.ts";
import { kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { Failure } from "../../../lib/failure.ts";
import { tailCommand } from "../../../lib/process.ts";
import { readSource } from "../../../lib/render/source.ts";
import type { Cluster, Component, Istioctl, Options, Stage } from "../../src/cluster.ts";
import { waitForWorkloads } from "../../src/kubectl.ts";
import { applyAddon, applyArgocdSecrets, applyMonitoringSecrets, startGitServer } from "./addons.ts";
import { backup, unpack } from "./backup.ts";
import { builderEnvironment, writeBuilderSettings } from "./builder.ts";
import { startCluster } from "./cluster.ts";
import { requireNoCollisions } from "./collisions.ts";
import { startCompiling, stopCompiling } from "./compiling.ts";
import { destroy, remains } from "./destroy.ts";
import { ensureImages, serviceImages } from "./images.ts";
import { examineMachine, plan } from "./inspect.ts";
import { endpoints, repository, state } from "./layout.ts";
import { installBinaries } from "./modules.ts";
import { installPackages } from "./packages.ts";
import { gitCredentialSettings, publish, unpublish } from "./publish.ts";
import { ensureRegistry } from "./registry.ts";
import { supervisorRuns } from "./supervisor.ts";

const settingsFile = (): string => state("settings.json");
const gitPath = "/platform.git";

interface Settings {
  httpPort: number;
}

function settings(): Settings {
  return existsSync(settingsFile())
    ? (JSON.parse(readFileSync(settingsFile(), "utf8")) as Settings)
    : { httpPort: 80 };
}

/** The URL of one of the cluster's endpoints on this machine. */
export function url(name: string): string {
  // The dashboards' server has this page.
  if (name === "alerts") return `${url("dashboards")}/alerts`;
  const endpoint = endpoints(settings().httpPort).find((e) => e.name === name);
  if (!endpoint) throw new Failure(`no endpoint named ${name}`);
  const base = `http://127.0.0.1${endpoint.port === 80 ? "" : `:${endpoint.port}`}`;
  return name === "git" ? `${base}${gitPath}` : base;
}

// Images without compiled programs come first, because Go compiles meanwhile.
const imagesOfPackages = [
  "docker.io/library/debian",
  "docker.io/library/node",
  "docker.io/library/busybox",
  "docker.io/library/nginx",
  "docker.io/library/redis",
  "docker.io/logging-platform/git-server",
  ...serviceImages,
];

const parts: Record<Component, { images: string[]; programs: string[] }> = {
  istio: {
    images: ["docker.io/istio/pilot", "docker.io/istio/proxyv2", "docker.io/istio/install-cni"],
    programs: ["istio"],
  },
  argocd: { images: ["quay.io/argoproj/argocd"], programs: ["argocd", "kustomize"] },
  applications: {
    images: [
      "docker.io/otel/opentelemetry-collector-contrib",
      "quay.io/prometheus-operator/prometheus-operator",
      "quay.io/prometheus-operator/prometheus-config-reloader",
      "quay.io/prometheus/prometheus",
      "quay.io/prometheus/alertmanager",
      "quay.io/prometheus/node-exporter",
      "registry.k8s.io/kube-state-metrics/kube-state-metrics",
      "docker.io/victoriametrics/victoria-logs",
      "docker.io/logging-platform/dashboards",
    ],
    programs: [],
  },
};

/** The embedded cluster. */
export class EmbeddedCluster implements Cluster {
  readonly name: string;
  readonly overrides = {};
  readonly keepIstio = false;
  readonly stages: Record<string, Stage> = {
    "Debian packages": async () => {
      requireNoCollisions(this.#httpPort());
      await installPackages();
    },
    "State of the backup": () => unpack(this.#options.file ?? ""),
    "Network and image mirror": async () => {
      await ensureRegistry();
      writeBuilderSettings();
    },
    "Images from packages": async () => {
      startCompiling();
      await ensureImages(imagesOfPackages);
    },
    Kubernetes: () => this.#start(),
    "DNS and storage": startAddons,
    "Git server": startGitServer,
    Repository: async () => {
      this.#published = await publish(url("git"));
    },
  };
  readonly #options: Options;
  #published: string | undefined;

  constructor(options: Options) {
    this.name = options.cluster ?? "embedded";
    this.#options = options;
    // Every program and every request uses this cluster, even if the shell has chosen another one.
    process.env.KUBECONFIG = state("kubeconfig", "admin.yaml");
    // Hints name this kubectl, because a shell has it on its PATH only after `deploy.sh env`.
    process.env.KUBECTL = state("bin", "kubectl");
    process.env.PATH = `${state("bin")}:${process.env.PATH}`;
  }

  async provide(component: Component): Promise<void> {
    const { images, programs } = parts[component];
    await ensureImages(images);
    await installBinaries(programs);
    // This is the last component, so nothing is left to compile.
    if (component === "applications") stopCompiling();
  }

  async istioctl(): Promise<Istioctl> {
    const files = ["operator.yaml", `${this.name}.yaml`];
    const install = files.flatMap((file) => ["--filename", join(repository, "bootstrap/istio", file)]);
    return { program: "istioctl", install };
  }

  async applyCredentials(): Promise<void> {
    await applyArgocdSecrets(readSource(repository, this.name).repository);
    await applyMonitoringSecrets();
  }

  publishedCommit(): string | undefined {
    return this.#published;
  }

  async ask(): Promise<string | undefined> {
    const response = await fetch(`${url("app")}/status`, { signal: AbortSignal.timeout(3000) });
    return response.ok ? undefined : `answered ${response.status}`;
  }

  async question(): Promise<{ what: string; next: string }> {
    return {
      what: `GET ${url("app")}/status`,
      next: `${kubectlCommand("-n", "logging", "get", "pods")}; ${tailCommand()}`,
    };
  }

  async summary(): Promise<Record<string, string>> {
    const password = (secret: string, namespace = "argocd"): string =>
      `kubectl -n ${namespace} get secret ${secret} -o jsonpath='{.data.password}' | base64 -d`;
    return {
      pages: `${url("dashboards")}  the front page, with links to the others`,
      platform: `curl ${url("app")}/`,
      tools: 'eval "$(./deploy.sh env)"',
      deploy: "git push platform HEAD:main",
      "Argo CD": `${url("argocd")}  Applications, their pods and logs`,
      "to look": `user viewer, password: ${password("argocd-viewer")}`,
      "to change": `user admin, password: ${password("argocd-initial-admin-secret")}`,
      dashboards: `${url("dashboards")}/platform  the platform; cluster and mesh are next to it`,
      lines: `${url("logs")}  find any line, also live; or npm run logs -- --help`,
      alerts: `${url("alerts")}  active alerts, and silences`,
      "to silence": `user admin, password: ${password("alertmanager-door", "monitoring")}`,
      Prometheus: `${url("prometheus")}  graphs, targets, rules, alerts`,
      status: "./deploy.sh status",
    };
  }

  async backup(): Promise<string[]> {
    const { file, mebibytes } = await backup(this.#options.file);
    return [`${file} (${mebibytes} MiB) holds the platform with all its passwords and keys.`];
  }

  examine(): Promise<Diagnosis[]> {
    return examineMachine(settings().httpPort);
  }

  async hasPlatform(): Promise<boolean> {
    return existsSync(state()) && (await supervisorRuns());
  }

  plan(): Promise<string[]> {
    return plan();
  }

  remains(): Promise<string[]> {
    return remains();
  }

  async destroy(): Promise<void> {
    await unpublish(url("git"));
    await destroy(this.#options.purge === true);
  }

  environment(): Record<string, string> {
    const lines: Record<string, string> = {
      PATH: `${state("bin")}:$PATH`,
      KUBECONFIG: state("kubeconfig", "admin.yaml"),
    };
    for (const endpoint of endpoints(settings().httpPort)) lines[endpoint.variable] = url(endpoint.name);
    lines.ALERTS_URL = url("alerts");
    Object.assign(lines, builderEnvironment());
    // If the shell uses a proxy, deploy.sh has added the cluster's addresses to these variables.
    for (const name of ["NO_PROXY", "no_proxy"])
      if (process.env[name] !== undefined) lines[name] = process.env[name];
    const git = Object.entries(gitCredentialSettings(url("git")));
    lines.GIT_CONFIG_COUNT = String(git.length);
    for (const [index, [name, value]] of git.entries()) {
      lines[`GIT_CONFIG_KEY_${index}`] = name;
      lines[`GIT_CONFIG_VALUE_${index}`] = value;
    }
    return lines;
  }

  #httpPort(): number {
    return Number(this.#options.httpPort ?? settings().httpPort);
  }

  async #start(): Promise<void> {
    mkdirSync(state(), { recursive: true });
    const port = this.#httpPort();
    writeFileSync(settingsFile(), JSON.stringify({ httpPort: port }));
    await startCluster(port);
  }
}

async function startAddons(): Promise<void> {
  await ensureImages([
    "registry.k8s.io/pause",
    "registry.k8s.io/coredns/coredns",
    "docker.io/rancher/local-path-provisioner",
    "docker.io/library/busybox",
  ]);
  await applyAddon("namespaces");
  await applyAddon("coredns");
  await applyAddon("local-path-provisioner");
  await waitForWorkloads("kube-system", ["deployment/coredns"], 180);
  await waitForWorkloads("local-path-storage", ["deployment/local-path-provisioner"], 180);
}
