/** Compiling the pinned Go tools into the cache, once per content of their module. */
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { log, run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { istioTag, withoutGoSettings } from "../../../lib/render/go.ts";
import { cache, repository, state } from "./layout.ts";

export interface Module {
  name: string;
  /** The module whose required version is the tool's. */
  path?: string;
  /** Linker settings; the pinned version is handed in as `v1.2.3`. */
  ldflags?: (version: string) => string;
  /** Build tags. */
  tags?: string[];
  /** Names under which `go build` leaves a binary → the name it is known by. */
  rename?: Record<string, string>;
  /** The module's own directory holds the main package. */
  main?: boolean;
}

/** Prometheus 3 numbers its Go module v0.3NN.P for the release 3.NN.P. */
export const prometheusVersion = (version: string): string =>
  version.replace(/^v0\.(\d)0*(\d+)\.(\d+)$/, "$1.$2.$3");

/** In build order: what the cluster's start waits for comes first. */
export const modules: Module[] = [
  { name: "pause", main: true },
  { name: "etcd", path: "go.etcd.io/etcd/server/v3", rename: { server: "etcd" } },
  {
    name: "kubernetes",
    path: "k8s.io/kubernetes",
    // Unstamped, it reports v0.0.0-master: Istio then injects no native sidecars, and Helm refuses the cluster.
    ldflags: (v) =>
      ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .map((p) => `-X ${p}.gitVersion=${v}`)
        .join(" "),
  },
  { name: "coredns", path: "github.com/coredns/coredns", main: true },
  { name: "local-path-provisioner", path: "github.com/rancher/local-path-provisioner" },
  {
    name: "kustomize",
    path: "sigs.k8s.io/kustomize/kustomize/v5",
    ldflags: (v) => `-X sigs.k8s.io/kustomize/api/provenance.version=${v}`,
  },
  {
    name: "istio",
    path: "istio.io/istio",
    // istioctl takes hub and tag of the images it installs from its own stamp.
    ldflags: (v) =>
      Object.entries({ Version: istioTag(v), Tag: istioTag(v), Hub: "docker.io/istio", Status: "Clean" })
        .map(([name, value]) => `-X istio.io/istio/pkg/version.build${name}=${value}`)
        .join(" "),
  },
  {
    name: "argocd",
    path: "github.com/argoproj/argo-cd/v3",
    ldflags: (v) => `-X github.com/argoproj/argo-cd/v3/common.version=${v.slice(1)}`,
    rename: { cmd: "argocd" },
  },
  {
    name: "opentelemetry-collector",
    path: "go.opentelemetry.io/collector/otelcol",
    main: true,
    ldflags: (v) => `-X main.version=${v.slice(1)}`,
  },
  {
    name: "prometheus-operator",
    path: "github.com/prometheus-operator/prometheus-operator",
    ldflags: (v) => `-X github.com/prometheus/common/version.Version=${v.slice(1)}`,
  },
  {
    name: "node-exporter",
    path: "github.com/prometheus/node_exporter",
    ldflags: (v) => `-X github.com/prometheus/common/version.Version=${v.slice(1)}`,
    rename: { node_exporter: "node-exporter" },
  },
  {
    name: "prometheus",
    path: "github.com/prometheus/prometheus",
    // One service discovery of some thirty: the cluster's own.
    tags: ["remove_all_sd", "enable_kubernetes_sd"],
    ldflags: (v) => `-X github.com/prometheus/common/version.Version=${prometheusVersion(v)}`,
  },
];

const directory = (name: string): string => join(repository, "bootstrap/embedded/modules", name);

/** Looks a module up by name. */
export function moduleNamed(name: string): Module {
  const found = modules.find((m) => m.name === name);
  if (!found) throw new Failure(`no module named ${name}`);
  return found;
}

/** The version that a module's go.mod pins for its tool, such as `v1.2.3`. */
export function moduleVersion(name: string): string {
  const { path } = moduleNamed(name);
  const text = readFileSync(join(directory(name), "go.mod"), "utf8");
  const line = text
    .split("\n")
    .find((l) => path !== undefined && l.replace("require", "").trim().startsWith(`${path} v`));
  const version = line?.match(/ (v\S+)/)?.[1];
  if (!version) throw new Failure(`${directory(name)}/go.mod requires no version of ${path ?? "anything"}`);
  return version;
}

function flags(module: Module): string[] {
  const stamp = module.ldflags?.(moduleVersion(module.name)) ?? "";
  const tags = module.tags ? ["-tags", module.tags.join(",")] : [];
  return ["-trimpath", ...tags, "-ldflags", `-s -w ${stamp}`.trim()];
}

/** Identifies what a build gives: the module's files and the flags. */
export function moduleKey(name: string): string {
  const hash = createHash("sha256").update(JSON.stringify(flags(moduleNamed(name))));
  for (const file of readdirSync(directory(name)).sort())
    hash.update(`\0${file}\0`).update(readFileSync(join(directory(name), file)));
  return hash.digest("hex").slice(0, 16);
}

/** The directory that holds a module's binaries once it is built. */
export const binaries = (name: string): string => cache("bin", `${name}-${moduleKey(name)}`);

/** True when the module's binaries are in the cache. */
export const isBuilt = (name: string): boolean => existsSync(binaries(name));

/** The environment of Go's commands: caches and flags that are the platform's, whatever the shell has for itself. */
export const goEnvironment = (): Record<string, string> => ({
  ...withoutGoSettings,
  GOCACHE: cache("go-build"),
  GOMODCACHE: cache("go-mod"),
  GOTOOLCHAIN: "auto",
  GOFLAGS: "-modcacherw -buildvcs=false",
  GOWORK: "off",
  CGO_ENABLED: "0",
  GOGC: process.env.GOGC ?? "400",
});

async function build(module: Module): Promise<void> {
  const target = binaries(module.name);
  const scratch = `${target}.partial`;
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const packages = module.main ? "." : "tool";
  const started = Date.now();
  const status = cache("bin", `${module.name}.progress`);
  const say = (text: string): void => {
    writeFileSync(status, text);
    progress(text);
  };
  say(`fetching ${module.name}`);
  const options = { cwd: directory(module.name), env: goEnvironment() };
  const total = new Set(
    (
      await run("go", ["list", "-deps", ...flags(module).slice(0, -2), packages], { ...options, quiet: true })
    ).split("\n"),
  ).size;
  let compiled = 0;
  const onLine = (line: string): void => {
    if (!/^[\w.-]+(\/[\w.~-]+)*$/.test(line)) return;
    compiled++;
    say(`compiling ${module.name} ${Math.min(compiled, total)}/${total}`);
  };
  await run("go", ["build", "-v", ...flags(module), "-o", `${scratch}/`, packages], {
    ...options,
    onLine,
    quiet: true,
  });
  for (const [from, to] of Object.entries(module.rename ?? {}))
    renameSync(join(scratch, from), join(scratch, to));
  renameSync(scratch, target);
  rmSync(status, { force: true });
  log(`built ${module.name} in ${Math.round((Date.now() - started) / 1000)} s`);
}

/** Builds one module when it is not in the cache, in this process. The caller holds the build lock. */
export async function buildModule(name: string): Promise<void> {
  if (!isBuilt(name)) await build(moduleNamed(name));
}

/**
 * Waits until the modules are built, whoever builds them: the lock file's holder works, the others watch.
 * @throws Failure with the compiler's last words
 */
export async function ensureBuilt(names: string[]): Promise<void> {
  mkdirSync(cache("bin"), { recursive: true });
  for (const name of names) {
    if (isBuilt(name)) continue;
    const watch = setInterval(() => {
      const status = cache("bin", `${name}.progress`);
      const working = modules.find((m) => existsSync(cache("bin", `${m.name}.progress`)));
      if (existsSync(status)) progress(readFileSync(status, "utf8"));
      else if (working)
        progress(`waiting for ${name}: ${readFileSync(cache("bin", `${working.name}.progress`), "utf8")}`);
    }, 1000);
    try {
      // flock(1) lets go when its holder dies, so a killed build never blocks the next one.
      await run(
        "flock",
        [
          cache("bin", "build.lock"),
          process.execPath,
          ...process.execArgv,
          join(repository, "bootstrap/embedded/src/cli.ts"),
          "build-one",
          name,
        ],
        {
          quiet: true,
        },
      );
    } finally {
      clearInterval(watch);
    }
  }
}

/** Puts a built module's binaries into the state directory, from where they run. */
export async function installBinaries(names: string[]): Promise<void> {
  await ensureBuilt(names);
  mkdirSync(state("bin"), { recursive: true });
  for (const name of names) {
    for (const binary of readdirSync(binaries(name))) {
      const target = state("bin", binary);
      const fresh = `${target}.new`;
      rmSync(fresh, { force: true });
      try {
        linkSync(join(binaries(name), binary), fresh);
      } catch {
        cpSync(join(binaries(name), binary), fresh);
      }
      renameSync(fresh, target);
    }
  }
}

/** Fetches a module's source and returns its directory. */
export async function moduleSource(name: string): Promise<string> {
  const { path } = moduleNamed(name);
  if (!path) throw new Failure(`${name} has no source module`);
  const out = await run("go", ["mod", "download", "-json", path], {
    cwd: directory(name),
    env: goEnvironment(),
    quiet: true,
  });
  return (JSON.parse(out) as { Dir: string }).Dir;
}
