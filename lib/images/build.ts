/** Builds a service's image and brings it to a registry, with the tools that the machine has. */
import { execa } from "execa";
import { Failure } from "../failure.ts";
import { setModes } from "../modes.ts";
import { note, progress } from "../progress.ts";
import { quoted } from "../quoted.ts";
import { findBuilder, loginCommand, plainOptions } from "./builder.ts";
import { registryAddress } from "./logins.ts";
import { type Answer, isLocal, lookUp } from "./registry.ts";

/** Where an image goes. */
export interface Registry {
  /** `host:port` of a registry that holds images under their full names, such as a mirror; undefined for the image's own. */
  mirror: string | undefined;
  /** True if it speaks plain HTTP. */
  insecure: boolean;
}

/** Reads `--registry`: a host, with `http://` in front if it has no certificate. */
export function parseRegistry(text: string | undefined): Registry {
  if (!text) return { mirror: undefined, insecure: false };
  const [, scheme, mirror] = /^(https?:\/\/)?([^/]+)\/?$/.exec(text) ?? [];
  if (!mirror) throw new Failure(`a registry is HOST or http://HOST:PORT, not '${text}'`);
  return { mirror, insecure: scheme ? scheme === "http://" : isLocal(mirror) };
}

/** The name under which an image is pushed. */
export function pushReference(image: string, { mirror }: Registry): string {
  return mirror ? `${mirror}/${image}` : image;
}

/** How a command line names the registry, for messages that say what to run next; nothing for the image's own. */
export const registryOption = ({ mirror, insecure }: Registry): string =>
  mirror ? ` --registry ${insecure ? "http" : "https"}://${mirror}` : "";

/** Asks the registry that an image is pushed to whether it has it. */
export function askRegistry(image: string, registry: Registry): Promise<Answer> {
  return lookUp(pushReference(image, registry), registry.mirror ? { insecure: registry.insecure } : {});
}

/**
 * Refuses an image that its registry does not have.
 * @param next what to do about an absent one
 * @param strict also refuse if the registry does not say; otherwise a note tells about it
 * @throws Failure
 */
export async function requireImage(
  image: string,
  registry: Registry,
  { next, strict }: { next: () => string | Promise<string>; strict: boolean },
): Promise<void> {
  const target = pushReference(image, registry);
  const answer = await askRegistry(image, registry);
  if (answer.state === "there") return;
  if (answer.state === "absent") throw new Failure(`${target} is not there`, await next());
  const said = `not known whether ${target} is there: ${answer.why}`;
  if (!strict) return note(said);
  const [host = ""] = target.split("/");
  const url = `${registry.insecure ? "http" : "https"}://${registryAddress(host)}/v2/`;
  const look = `curl --include ${quoted(url)}`;
  throw new Failure(said, answer.needsLogin ? await loginCommand(host, registry.insecure) : look);
}

/**
 * Builds an image and pushes it, unless the registry has its tag already: the tag is a hash of what it is built from.
 * @param context directory with a Dockerfile, of the tool's own: its files get the modes that Git has for them
 * @param sources the same directory in the checkout, for messages
 */
export async function ensureImage(
  image: string,
  context: string,
  registry: Registry,
  sources = context,
): Promise<void> {
  const target = pushReference(image, registry);
  const answer = await askRegistry(image, registry);
  if (answer.state === "there") {
    progress(`${target} is there`);
    return;
  }
  if (answer.state === "unsaid") {
    // The builder may know a login from another place. If nothing listens, the push will say so.
    const tell = answer.needsLogin ? note : progress;
    tell(`not known whether ${target} is there: ${answer.why}; it is built and pushed`);
  }
  const builder = await findBuilder();
  setModes(context);
  const build = ["build", "--tag", target];
  await visibly(builder, [...build, context], `building ${image}`, [...build, sources]);
  const plain = plainOptions(builder, registry.insecure);
  try {
    await visibly(builder, ["push", ...plain, target], `pushing ${target}`);
  } catch (error) {
    // Where tags are immutable, one that somebody pushed in between is refused, and is the same image.
    if ((await askRegistry(image, registry)).state === "there")
      note(`${target} was pushed by somebody else meanwhile`);
    else throw error;
  }
}

// A build takes minutes: its latest line is shown, all of them where it fails.
async function visibly(program: string, args: string[], title: string, again = args): Promise<void> {
  progress(title);
  const child = execa(program, args, { all: true, reject: false });
  child.all.on("data", (data: Buffer) => {
    const line = data.toString().trim().split("\n").pop();
    if (line) progress(`${title}: ${line}`);
  });
  const { failed, all, shortMessage } = await child;
  if (failed) {
    const last = (all ?? "").trim().split("\n").slice(-15).join("\n");
    throw new Failure(`${title} failed: ${shortMessage}\n${last}`, [program, ...again].map(quoted).join(" "));
  }
}
