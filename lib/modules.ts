/** The Go modules that are pinned here: for building them, for their sources, and for their versions. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { Failure } from "./failure.ts";
import { checkout, pinnedVersions } from "./repository.ts";

/** A Go module of ours whose go.mod pins somebody else's module. */
export interface Module {
  /** The name of its directory. */
  name: string;
  /** The module whose required version counts. */
  path?: string;
  /** Where the directory is, if not among the modules of the embedded cluster. */
  home?: string;
  /** Modules of a group require the same versions, so that Go compiles what they share once (ADR 16). */
  group?: "kubernetes" | "argocd";
  /** What it requires in a version of its own, because it does not compile with that of its group. */
  apart?: string[];
  /** Linker settings; the pinned version is handed in as `v1.2.3`. */
  ldflags?: (version: string) => string;
  /** Build tags. */
  tags?: string[];
  /** Names under which `go build` leaves a binary → the name it is known by. */
  rename?: Record<string, string>;
  /** The module's own directory holds the main package. */
  main?: boolean;
  /** A change to a module that it requires: a replaced expression in one file, and a file of ours beside that. */
  patch?: Patch;
}

/** What is changed in a module that another one requires. */
export interface Patch {
  module: string;
  file: string;
  before: string;
  after: string;
  /** A file of the module's directory, whose name ends in `.in` so that Go does not compile it there. */
  adds: string;
}

/** Prometheus 3 numbers its Go module v0.3NN.P for the release 3.NN.P. */
export const prometheusVersion = (version: string): string =>
  version.replace(/^v0\.(\d)0*(\d+)\.(\d+)$/, "$1.$2.$3");

/** The modules to build for the embedded cluster, in order: those that the cluster's start waits for come first. */
export const modules: Module[] = [
  { name: "pause", main: true },
  { name: "etcd", group: "kubernetes", path: "go.etcd.io/etcd/server/v3", rename: { server: "etcd" } },
  {
    name: "kubernetes",
    group: "kubernetes",
    path: "k8s.io/kubernetes",
    // Unstamped, it reports v0.0.0-master: Istio then injects no native sidecars, and Helm refuses the cluster.
    ldflags: (v) =>
      ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .map((p) => `-X ${p}.gitVersion=${v}`)
        .join(" "),
  },
  {
    name: "kube-router",
    group: "kubernetes",
    path: "github.com/cloudnativelabs/kube-router/v2",
    ldflags: (v) => `-X github.com/cloudnativelabs/kube-router/v2/pkg/version.Version=${v}`,
  },
  { name: "coredns", group: "kubernetes", path: "github.com/coredns/coredns", main: true },
  { name: "local-path-provisioner", group: "kubernetes", path: "github.com/rancher/local-path-provisioner" },
  {
    name: "kustomize",
    path: "sigs.k8s.io/kustomize/kustomize/v5",
    ldflags: (v) => `-X sigs.k8s.io/kustomize/api/provenance.version=${v}`,
  },
  {
    name: "istio",
    group: "kubernetes",
    path: "istio.io/istio",
    // istioctl takes hub and tag of the images it installs from its own stamp.
    ldflags: (v) =>
      Object.entries({ Version: istioTag(v), Tag: istioTag(v), Hub: "docker.io/istio", Status: "Clean" })
        .map(([name, value]) => `-X istio.io/istio/pkg/version.build${name}=${value}`)
        .join(" "),
  },
  {
    name: "argocd",
    group: "argocd",
    path: "github.com/argoproj/argo-cd/v3",
    ldflags: (v) => `-X github.com/argoproj/argo-cd/v3/common.version=${v.slice(1)}`,
    rename: { cmd: "argocd" },
  },
  {
    name: "opentelemetry-collector",
    path: "go.opentelemetry.io/collector/otelcol",
    main: true,
    // It opens anything whose name matches, even what is not a file, and has no setting for that.
    patch: {
      module: "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza",
      file: "fileconsumer/file_other.go",
      before: "return os.Open(path)",
      after: "return openRegular(path)",
      adds: "open_regular.go.in",
    },
    ldflags: (v) => `-X main.version=${v.slice(1)}`,
  },
  {
    name: "prometheus-operator",
    group: "kubernetes",
    path: "github.com/prometheus-operator/prometheus-operator",
    ldflags: (v) => `-X github.com/prometheus/common/version.Version=${v.slice(1)}`,
  },
  {
    name: "node-exporter",
    group: "kubernetes",
    path: "github.com/prometheus/node_exporter",
    ldflags: (v) => `-X github.com/prometheus/common/version.Version=${v.slice(1)}`,
    rename: { node_exporter: "node-exporter" },
  },
  {
    name: "kube-state-metrics",
    group: "argocd",
    apart: ["github.com/KimMachineGun/automemlimit"],
    path: "k8s.io/kube-state-metrics/v2",
    ldflags: (v) => `-X github.com/prometheus/common/version.Version=${v.slice(1)}`,
  },
  {
    name: "victoria-logs",
    path: "github.com/VictoriaMetrics/VictoriaLogs",
    ldflags: (v) => `-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=${v}`,
  },
  {
    name: "prometheus",
    group: "argocd",
    apart: ["github.com/gobwas/glob"],
    path: "github.com/prometheus/prometheus",
    // One service discovery of some thirty: the cluster's own.
    tags: ["remove_all_sd", "enable_kubernetes_sd"],
    ldflags: (v) => `-X github.com/prometheus/common/version.Version=${prometheusVersion(v)}`,
  },
];

/** Looks a module up by name. */
export function moduleNamed(name: string): Module {
  const found = modules.find((m) => m.name === name);
  if (!found) throw new Failure(`no module named ${name}`);
  return found;
}

/** A module whose version counts. */
export type PinnedModule = Module & { path: string };

const pinned = (name: string): PinnedModule => moduleNamed(name) as PinnedModule;

export const argocd = pinned("argocd");
export const istio = pinned("istio");
export const kubernetes = pinned("kubernetes");
export const kubeStateMetrics = pinned("kube-state-metrics");
export const kustomize = pinned("kustomize");
export const prometheus = pinned("prometheus");
export const prometheusOperator = pinned("prometheus-operator");
/** This is not built; only its definitions are read. */
export const certManager: PinnedModule = {
  name: "cert-manager",
  path: "github.com/cert-manager/cert-manager",
  home: "tools/modules",
};

/** Renders charts; compiled on first use. */
export const helm: PinnedModule = { name: "helm", path: "helm.sh/helm/v4", home: "tools/modules" };

/** Every module whose version may stand in its go.mod only. */
export const pinnedModules: PinnedModule[] = [argocd, certManager, helm, istio, kubernetes, kustomize];

/** A pinned module's go.mod, from the root of the repository. */
export function moduleFile({ home = "bootstrap/embedded/modules", name }: Module): string {
  return `${home}/${name}/go.mod`;
}

/**
 * The tag of Istio's images. The module proxy has no releases of the module, but it has commits. Such a build is named as
 * Istio names it, after the minor version of the release in versions.yaml.
 * @param version of the module, which ends in the hash of its commit
 */
export function istioTag(version: string): string {
  const minor = pinnedVersions(checkout).istio?.split(".").slice(0, 2).join(".");
  return `${minor}-alpha.${version.split("-").pop()}`;
}

/** Where a pinned module's go.mod lives. */
export function moduleDirectory(checkout: string, module: Module): string {
  return dirname(join(checkout, moduleFile(module)));
}

/** What a go.mod requires: each module's version, and for some a version that replaces it. */
export interface Requirements {
  required: Map<string, string>;
  replaced: Map<string, string>;
}

/**
 * Reads the requirements, and the replacements by another version, from the text of a go.mod.
 * @param apart modules that are left out
 */
export function requirementsIn(text: string, apart: string[] = []): Requirements {
  const [required, replaced] = [new Map<string, string>(), new Map<string, string>()];
  for (const line of text.split(/\r?\n/)) {
    const [, from, to, by] = /^(?:replace)?\s+(\S+)(?: v\S+)? => (\S+) (v\S+)$/.exec(line) ?? [];
    if (from !== undefined && from === to && by) replaced.set(from, by);
    const [, path, version] = /^(?:require)?\s+(\S+) (v\S+)(?: \/\/.*)?$/.exec(line) ?? [];
    if (path && version) required.set(path, version);
  }
  for (const path of apart) required.delete(path);
  return { required, replaced };
}

/** The version that a module's go.mod requires, such as `v1.2.3`. */
export function pinnedVersion(checkout: string, module: PinnedModule): string {
  const file = join(moduleDirectory(checkout, module), "go.mod");
  const version = requirementsIn(readFileSync(file, "utf8")).required.get(module.path);
  if (!version) throw new Error(`${file} requires no version of ${module.path}`);
  return version;
}

/** Fetches a pinned module's source through the module proxy, once, and returns its directory. */
export async function moduleSource(checkout: string, module: PinnedModule): Promise<string> {
  const cwd = moduleDirectory(checkout, module);
  const fetched = fetchedSource(module.path, pinnedVersion(checkout, module));
  if (fetched) return fetched;
  const { stdout } = await execa("go", ["mod", "download", "-json", module.path], {
    cwd,
    env: goEnvironment(),
  });
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

// Asking Go takes most of a second. While Go unpacks, a mark lies beside the directory; it is gone once that is whole.
function fetchedSource(path: string, version: string): string | undefined {
  const cache = goEnvironment().GOMODCACHE;
  if (!cache) return undefined;
  const escaped = path.replace(/[A-Z]/g, (letter) => `!${letter.toLowerCase()}`);
  const directory = join(cache, `${escaped}@${version}`);
  const unfinished = join(cache, "cache/download", escaped, "@v", `${version}.partial`);
  return existsSync(directory) && !existsSync(unfinished) ? directory : undefined;
}

/**
 * Variables that a shell may set for other builds, such as those for another processor or without modules. Go treats an
 * empty variable as unset.
 */
const withoutGoSettings = {
  GO111MODULE: "on",
  GOARCH: "",
  GOBIN: "",
  GOEXPERIMENT: "",
  GOOS: "",
  GOROOT: "",
};

/** What the compiler is told for every package. The linker drops debugging data anyway (-s -w); it takes a fifth of the time. */
export const compilerFlag = "-dwarf=false";

/** The environment of every Go command: the caches and flags of the bootstrap, so that nothing is compiled twice. */
export function goEnvironment(): Record<string, string> {
  const cache = process.env.CACHE_DIR ?? "/var/cache/logging-platform";
  return {
    ...withoutGoSettings,
    GOTOOLCHAIN: "auto",
    GOWORK: "off",
    CGO_ENABLED: "0",
    GOFLAGS: `-trimpath -modcacherw -buildvcs=false -gcflags=all=${compilerFlag}`,
    ...(writable(cache) ? { GOCACHE: join(cache, "go-build"), GOMODCACHE: join(cache, "go-mod") } : {}),
  };
}

function writable(directory: string): boolean {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
