/** Building a service's image and bringing it to a registry, with what the machine has for that. */
import { execa } from "execa";
import { Failure } from "../failure.ts";
import { progress } from "../progress.ts";

/** Where an image goes. */
export interface Registry {
  /** `host:port` of a registry that holds images under their full names, such as a mirror; undefined for the image's own. */
  mirror: string | undefined;
  /** It speaks plain HTTP. */
  insecure: boolean;
}

/** Reads `--registry`: a host, with `http://` in front where it has no certificate. */
export function parseRegistry(text: string | undefined): Registry {
  if (!text) return { mirror: undefined, insecure: false };
  const [, scheme, mirror] = /^(https?:\/\/)?([^/]+)\/?$/.exec(text) ?? [];
  if (!mirror) throw new Failure(`a registry is HOST or http://HOST:PORT, not '${text}'`);
  return { mirror, insecure: scheme === "http://" };
}

/** The name under which an image is pushed. */
export function pushReference(image: string, { mirror }: Registry): string {
  return mirror ? `${mirror}/${image}` : image;
}

const builders = ["docker", "podman", "buildah"] as const;

/**
 * The program that builds images: what IMAGE_BUILDER says, or the first of docker, podman and buildah that works.
 * @throws Failure where there is none
 */
export async function findBuilder(): Promise<string> {
  if (process.env.IMAGE_BUILDER) return process.env.IMAGE_BUILDER;
  for (const name of builders) {
    // A docker without its daemon has a version and builds nothing.
    const args = name === "docker" ? ["version", "--format", "{{.Server.Version}}"] : ["--version"];
    const { failed } = await execa(name, args, { reject: false, timeout: 20_000 });
    if (!failed) return name;
  }
  throw new Failure(
    "neither docker nor podman nor buildah works here",
    "install one, or name it in IMAGE_BUILDER",
  );
}

/** True where the registry answers that it has the image; false where it does not say so. */
export async function registryHas(image: string, registry: Registry): Promise<boolean> {
  const [, host = "", path, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(pushReference(image, registry)) ?? [];
  const url = `${registry.insecure ? "http" : "https"}://${host}/v2/${path}/manifests/${tag}`;
  const accept = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
  ].join(", ");
  try {
    const answer = await fetch(url, {
      method: "HEAD",
      headers: { accept },
      signal: AbortSignal.timeout(10_000),
    });
    return answer.ok;
  } catch {
    return false;
  }
}

/**
 * Builds an image and pushes it, unless the registry has its tag already: the tag is a hash of what it is built from.
 * @param context directory with a Dockerfile
 */
export async function ensureImage(image: string, context: string, registry: Registry): Promise<void> {
  if (await registryHas(image, registry)) return;
  const builder = await findBuilder();
  const target = pushReference(image, registry);
  await visibly(builder, ["build", "--tag", target, context], `building ${image}`);
  const plain = registry.insecure && !builder.endsWith("docker") ? ["--tls-verify=false"] : [];
  await visibly(builder, ["push", ...plain, target], `pushing ${target}`);
}

// A build takes minutes: its latest line is shown, all of them where it fails.
async function visibly(program: string, args: string[], title: string): Promise<void> {
  progress(title);
  const child = execa(program, args, { all: true, reject: false });
  child.all.on("data", (data: Buffer) => {
    const line = data.toString().trim().split("\n").pop();
    if (line) progress(`${title}: ${line}`);
  });
  const { failed, all, shortMessage } = await child;
  if (failed) {
    const last = (all ?? "").trim().split("\n").slice(-15).join("\n");
    throw new Failure(`${title} failed: ${shortMessage}\n${last}`, `${program} ${args.join(" ")}`);
  }
}
