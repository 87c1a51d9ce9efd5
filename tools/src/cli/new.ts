import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { isImage } from "../../../lib/images/names.ts";
import { checkout, readRepository } from "../../../lib/repository.ts";
import { environmentFiles } from "../new/environment.ts";
import { checkFree, checkHost, checkName, checkPath } from "../new/names.ts";
import { removeService } from "../new/remove.ts";
import { rootFile, type ServiceOptions, serviceFiles } from "../new/service.ts";
import { type Layout, layout, write } from "../new/write.ts";
import { imageFlaw } from "../rules/images.ts";
import { follow, type Options, publishing, target } from "./release.ts";
import { WrongUsage } from "./usage.ts";

interface ServiceCommand {
  directory: string;
  path?: string;
  host?: string;
  image?: string;
  port?: number;
  metricsPort?: number;
  health?: string;
  dryRun?: boolean;
  print?: string;
}

/** Adds `new`, which writes what people add to the repository: services and environments. */
export function addNew(program: Command): void {
  const group = program
    .command("new")
    .description("add a service or an environment to the repository, or remove a service");
  group
    .command("service")
    .description("write a service's sources, manifests, alerts and tests; no existing file is overwritten")
    .argument("<name>", "lowercase letters, digits and hyphens, at most 55, starting with a letter")
    .option(
      "-C, --directory <directory>",
      "root of the repository",
      (path: string) => resolve(path),
      checkout,
    )
    .option("--path <path>", "the path that the gateway sends to it (default: /NAME)")
    .option("--host <host>", "a host name of its own, instead of a path")
    .option("--image <reference>", "use an existing image, with registry and tag or digest; no sources")
    .option("--port <number>", "with --image: its HTTP port (default: 8080)", port)
    .option("--health <path>", "with --image: a path that answers 200 while it is healthy (default: /)")
    .option("--metrics-port <number>", "with --image: its port of GET /metrics, if it has one", port)
    .addOption(new Option("--dry-run", "say what would be written").conflicts("print"))
    .option("--print <file>", "print one of the files instead of writing any")
    .addHelpText("after", "\nExit codes: 0 done or nothing to do, 1 a file was edited, 2 wrong command line")
    .action(newService);
  group
    .command("environment")
    .description(
      "write an environment's overlays, copied from another environment; no existing file is overwritten",
    )
    .argument("<name>", "the environment: lowercase letters, digits and hyphens, starting with a letter")
    .option("--from <environment>", "the environment whose overlays are copied", "staging")
    .option("--host <host>", "its host name (default: the other environment's host, with this name in it)")
    .option(
      "-C, --directory <directory>",
      "root of the repository",
      (path: string) => resolve(path),
      checkout,
    )
    .option("--dry-run", "say what would be written")
    .action(newEnvironment);
  publishing(
    group
      .command("remove")
      .description("commit the removal of a service that `new service` made, with a trailer for each object")
      .argument("<name>", "the service"),
  ).action(async (name: string, options: Options) => {
    checkName(name);
    await follow(await removeService(name, await target(options)), options);
  });
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 65_535)
    throw new WrongUsage(`expected a port from 1 to 65535, got '${text}'`);
  return value;
}

async function newService(name: string, options: ServiceCommand): Promise<void> {
  const { directory, dryRun, print } = options;
  checkName(name);
  const repository = await readRepository(directory);
  checkFree(repository, name);
  const chosen = choose(name, options);
  if ("path" in chosen.route) checkPath(repository, name, chosen.route.path);
  else checkHost(repository, name, chosen.route.host);
  const files = await serviceFiles(directory, repository, chosen);
  if (print !== undefined) {
    const text = files.get(print);
    if (text === undefined) throw new WrongUsage(`the service has no file ${print}`);
    process.stdout.write(text);
    return;
  }
  const found = layout(repository, files, [rootFile]);
  if (!dryRun) write(directory, files, found);
  process.stdout.write(told(name, found, { dryRun: dryRun === true, built: chosen.image === undefined }));
}

async function newEnvironment(
  name: string,
  { directory, from, host, dryRun }: { directory: string; from: string; host?: string; dryRun?: boolean },
): Promise<void> {
  const repository = await readRepository(directory);
  if (host !== undefined) checkHost(repository, name, host);
  const files = environmentFiles(repository, { name, from, ...(host !== undefined && { host }) });
  const found = layout(repository, files, []);
  if (!dryRun) write(directory, files, found);
  process.stdout.write(`${listing(name, found, dryRun === true)}\n`);
}

function choose(name: string, options: ServiceCommand): ServiceOptions {
  const { path, host, image, port: requests = 8080, metricsPort, health = "/" } = options;
  if (path !== undefined && host !== undefined)
    throw new WrongUsage("--path and --host are two ways to reach it: leave one out");
  const route = host === undefined ? { path: path ?? `/${name}` } : { host };
  if (image === undefined) {
    if ([options.port, metricsPort, options.health].some((value) => value !== undefined))
      throw new WrongUsage("--port, --health and --metrics-port belong to --image");
    return { name, route };
  }
  const flaw = isImage(image) ? imageFlaw(image)?.what : " is not one that a container runtime accepts";
  if (flaw) throw new WrongUsage(`the image ${image}${flaw}`);
  if (!/^\/[\w./~-]*$/.test(health))
    throw new WrongUsage(`expected a path such as /healthz, got '${health}'`);
  for (const number of [requests, metricsPort ?? 0])
    if (number >= 15_000 && number <= 15_090)
      throw new WrongUsage(`port ${number} belongs to Istio's proxy, which takes 15000 to 15090`);
  if (requests === metricsPort) throw new WrongUsage("--port and --metrics-port are the same");
  const scraped = metricsPort === undefined ? {} : { metricsPort };
  return { name, route, image: { reference: image, port: requests, health, ...scraped } };
}

function told(name: string, found: Layout, { dryRun, built }: { dryRun: boolean; built: boolean }): string {
  const lines = listing(name, found, dryRun);
  if (dryRun || found.created.length + found.extended.length === 0) return `${lines}\n`;
  const next = built
    ? `git add --all && git commit --message "feat(${name}): a service" && npm run release -- ${name} --push --wait`
    : `git add --all && git commit --message "feat(${name}): a service" && git push platform HEAD:main && npm run wait`;
  return `${lines}\nnext: ${next}\n`;
}

function listing(name: string, { created, extended, same }: Layout, dryRun: boolean): string {
  if (created.length + extended.length === 0)
    return `${name} is there already: ${same.length} files are unchanged`;
  return [
    ...created.map((file) => `${dryRun ? "would write" : "wrote"} ${file}`),
    ...extended.map((file) => `${dryRun ? "would list" : "listed"} it in ${file}`),
  ].join("\n");
}
