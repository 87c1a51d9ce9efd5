/** What the machine has for building and pushing images. */
import { basename } from "node:path";
import { execa } from "execa";
import { Failure } from "../failure.ts";
import { quoted } from "../quoted.ts";
import { registryName } from "./logins.ts";

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
    "apt-get install --yes buildah (or name another builder in IMAGE_BUILDER)",
  );
}

/** The options under which a builder speaks plain HTTP; docker does so by itself with registries on its machine. */
export const plainOptions = (builder: string, insecure: boolean): string[] =>
  insecure && !basename(builder).startsWith("docker") ? ["--tls-verify=false"] : [];

/** The command that makes a login for a registry, by the builder that is there. */
export async function loginCommand(host: string, insecure = false): Promise<string> {
  const builder = await findBuilder().catch(() => "docker");
  const program = process.env.IMAGE_BUILDER ? quoted(builder) : builder;
  return [program, "login", ...plainOptions(builder, insecure), quoted(registryName(host))].join(" ");
}
