import { accessSync, constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";

/** A pinned Go module: a directory with a go.mod, and the module that it pins. */
export interface PinnedModule {
  directory: string;
  path: string;
  /** Where the directory is; `bootstrap/embedded/modules` for what the embedded cluster is made of. */
  home?: string;
}

export const argocd: PinnedModule = { directory: "argocd", path: "github.com/argoproj/argo-cd/v3" };
export const certManager: PinnedModule = {
  directory: "cert-manager",
  path: "github.com/cert-manager/cert-manager",
  home: "tools/modules",
};
export const istio: PinnedModule = { directory: "istio", path: "istio.io/istio" };
export const kubernetes: PinnedModule = { directory: "kubernetes", path: "k8s.io/kubernetes" };
export const kustomize: PinnedModule = { directory: "kustomize", path: "sigs.k8s.io/kustomize/kustomize/v5" };
export const prometheusOperator: PinnedModule = {
  directory: "prometheus-operator",
  path: "github.com/prometheus-operator/prometheus-operator",
};

/** Every module that something here reads the version of. */
export const pinnedModules: PinnedModule[] = [argocd, certManager, istio, kubernetes, kustomize];

/** A pinned module's go.mod, from the root of the repository. */
export function moduleFile({ home = "bootstrap/embedded/modules", directory }: PinnedModule): string {
  return `${home}/${directory}/go.mod`;
}

/** The module's releases are on no proxy, this commit of the 1.31 line is: named as Istio names such builds. */
export const istioTag = (version: string): string => `1.31-alpha.${version.split("-").pop()}`;

/** Where a pinned module's go.mod lives. */
export function moduleDirectory(checkout: string, module: PinnedModule): string {
  return dirname(join(checkout, moduleFile(module)));
}

/** The version that a module's go.mod requires, such as `v1.2.3`. */
export function pinnedVersion(checkout: string, module: PinnedModule): string {
  const file = join(moduleDirectory(checkout, module), "go.mod");
  const requirement = readFileSync(file, "utf8")
    .split("\n")
    .map((line) =>
      line
        .replace(/^require\s/, "")
        .trim()
        .split(/\s+/),
    )
    .find(([path, version]) => path === module.path && version?.startsWith("v"));
  if (!requirement?.[1]) throw new Error(`${file} requires no version of ${module.path}`);
  return requirement[1];
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

// Asking Go takes most of a second. It unpacks next to a mark that goes when the directory is whole.
function fetchedSource(path: string, version: string): string | undefined {
  const cache = goEnvironment().GOMODCACHE;
  if (!cache) return undefined;
  const escaped = path.replace(/[A-Z]/g, (letter) => `!${letter.toLowerCase()}`);
  const directory = join(cache, `${escaped}@${version}`);
  const unfinished = join(cache, "cache/download", escaped, "@v", `${version}.partial`);
  return existsSync(directory) && !existsSync(unfinished) ? directory : undefined;
}

/**
 * What a shell sets for other builds, such as those for another processor, or without modules. Go takes an empty
 * variable for one that is not set.
 */
export const withoutGoSettings = {
  GO111MODULE: "on",
  GOARCH: "",
  GOBIN: "",
  GOEXPERIMENT: "",
  GOOS: "",
  GOROOT: "",
};

/** The environment of every Go command: the caches and flags of the bootstrap, so that nothing is compiled twice. */
export function goEnvironment(): Record<string, string> {
  const cache = process.env.CACHE_DIR ?? "/var/cache/logging-platform";
  return {
    ...withoutGoSettings,
    GOTOOLCHAIN: "auto",
    GOWORK: "off",
    CGO_ENABLED: "0",
    GOFLAGS: "-trimpath -modcacherw -buildvcs=false",
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
