import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { imageRuns, waitForCommit } from "../../../lib/cluster/wait.ts";
import { defaultEnvironment } from "../../../lib/environment.ts";
import { Failure } from "../../../lib/failure.ts";
import { followedBranch, platformRemote } from "../../../lib/git/followed.ts";
import { Git } from "../../../lib/git/git.ts";
import { parseRegistry, type Registry } from "../../../lib/images/build.ts";
import { checkout, readRepository, serviceNames } from "../../../lib/repository.ts";
import { formatFindings } from "../finding.ts";
import type { Published } from "../git/publish.ts";
import { deployedImage } from "../release/deployment.ts";
import { promote } from "../release/promote.ts";
import { release, rollback, setFault, type Target } from "../release/release.ts";
import { validate } from "../validate.ts";
import { seconds, spelledOut, WrongUsage } from "./usage.ts";

/** What the command line of a command that commits says. */
export interface Options {
  directory: string;
  environment?: string;
  push?: boolean;
  wait?: boolean;
  remote?: string;
  branch?: string;
  dryRun?: boolean;
  validate: boolean;
  seconds: number;
}

/** Adds the commands that commit one scalar: `release`, `rollback` and `fault`. */
export function addRelease(program: Command): void {
  publishing(
    program
      .command("release")
      .description("build a service's committed sources, push the image and commit its tag")
      .usage("<service> [options]\n       gitops release --promote <environment> [service|all] [options]"),
  )
    .argument("[service]", "a directory of services; with --promote also all, which is the default there")
    .addOption(registryOption())
    .option("--force", "release sources that were rolled back; with --promote also older ones")
    .option("--promote <environment>", "build nothing: commit there the tag that another environment has")
    .option("--from <environment>", `the environment to promote (default: ${defaultEnvironment})`)
    .action(async (service: string | undefined, options: ReleaseCommand) => {
      const registry = parseRegistry(options.registry);
      const force = options.force === true;
      if (options.promote !== undefined) {
        await promoteAll(service ?? "all", options.promote, registry, options);
        return;
      }
      if (options.from !== undefined) throw new WrongUsage("--from belongs to --promote");
      if (service === undefined) throw new WrongUsage("which service? a directory of services");
      await follow(await release({ ...(await target(options)), service, registry, force }), options, service);
    });
  publishing(program.command("rollback").description("put a service's earlier image back"))
    .argument("<service>", "a directory of services")
    .addOption(registryOption())
    .option("--to <tag>", "a tag that was deployed before (default: the one before the present one)")
    .action(async (service: string, options: Options & { to?: string; registry?: string }) => {
      const to = options.to === undefined ? {} : { to: options.to };
      const registry = parseRegistry(options.registry);
      await follow(
        await rollback({ ...(await target(options)), service, registry, ...to }),
        options,
        service,
      );
    });
  publishing(program.command("fault").description("set the share of POST /log that is delayed"))
    .argument("<percent>", "0 to 100")
    .action(async (percent: string, options: Options) => {
      if (!/^(100|\d{1,2})$/.test(percent))
        throw new WrongUsage(`a share is a number from 0 to 100, not '${percent}'`);
      await follow(await setFault(Number(percent), await target(options)), options);
    });
}

const registryOption = (): Option =>
  new Option(
    "--registry <host>",
    "a registry that holds images under their full names; http://HOST:PORT without TLS",
  ).default(process.env.REGISTRY);

interface ReleaseCommand extends Options {
  registry?: string;
  force?: boolean;
  promote?: string;
  from?: string;
}

/** Promotes one service, or each that has an image, by a commit of its own. */
async function promoteAll(
  service: string,
  to: string,
  registry: Registry,
  options: ReleaseCommand,
): Promise<void> {
  if (options.environment !== undefined)
    throw new WrongUsage("--promote names the environment: leave --environment out");
  const from = options.from ?? defaultEnvironment;
  if (from === to) throw new WrongUsage(`--promote ${to} takes another environment by --from`);
  const services =
    service === "all" ? serviceNames(await readRepository(options.directory)).sort() : [service];
  for (const name of services) {
    const common = { ...(await target(options)), registry, force: options.force === true };
    const published = await promote({ ...common, service: name, from, to });
    await follow(published, { ...options, environment: to }, name);
  }
}

/** Gives a command the options of one that commits and may push. */
export function publishing(command: Command): Command {
  return command
    .option(
      "-C, --directory <directory>",
      "root of the repository",
      (path: string) => resolve(path),
      checkout,
    )
    .option("--push", "push it, rebased where others were faster")
    .option("--wait", "wait until it runs; needs --push")
    .option("--environment <name>", `whose scalar is changed (default: ${defaultEnvironment})`)
    .option("--remote <name>", "where to push (default: platform, or origin where there is none)")
    .option("--branch <name>", "branch to push to (default: the one that the cluster follows)")
    .option("--dry-run", "say what would be done")
    .addOption(new Option("--no-validate", "commit without validating the result"))
    .option("--seconds <n>", "deadline of --wait", seconds, 300)
    .addHelpText(
      "after",
      "\nExit codes: 0 done, nothing to do or superseded, 1 failed, 2 wrong command line",
    );
}

/** Where a command's commit goes, by its options. @throws WrongUsage */
export async function target(options: Options): Promise<Target> {
  if (options.wait && !options.push) throw new WrongUsage("--wait waits for what is pushed: add --push");
  const git = new Git(options.directory);
  const remote = options.remote ?? (await platformRemote(git));
  return {
    root: options.directory,
    remote,
    branch: options.branch ?? (await followedBranch(git, remote)),
    push: options.push === true,
    dryRun: options.dryRun === true,
    ...(options.environment === undefined ? {} : { environment: options.environment }),
    ...(options.validate ? { check: refuseFindings } : {}),
  };
}

async function refuseFindings(directory: string): Promise<void> {
  const { findings } = await validate(directory);
  if (findings.length > 0)
    throw new Failure(
      `the result is not valid:\n${formatFindings(findings)}`,
      `npm run validate -- --explain ${findings[0]?.rule}`,
    );
}

/** Says what came of a commit, and waits for it where that is asked for. */
export async function follow(
  { outcome, commit, message }: Published,
  options: Options,
  service?: string,
): Promise<void> {
  const said = outcome === "planned" ? `would commit:\n${message}` : message;
  process.stdout.write(`${said}${outcome === "pushed" ? ` (pushed as ${commit.slice(0, 12)})` : ""}\n`);
  if (outcome === "committed") process.stdout.write(`next: ${spelledOut("the same command with --push")}\n`);
  if (!options.wait || outcome === "planned" || outcome === "superseded") return;
  const started = Date.now();
  await waitForCommit(commit, options.seconds, options.directory);
  const { name = "", tag = "" } = service
    ? await deployedImage({ git: new Git(options.directory) }, service, { environment: options.environment })
    : {};
  const pods = service ? await imageRuns(`${name}:${tag}`, options.seconds) : undefined;
  const what = pods === undefined ? "it" : `${name}:${tag} in ${pods} pods`;
  process.stdout.write(`runs ${what}, ${Math.round((Date.now() - started) / 100) / 10} s after the push\n`);
}
