/** The program that each run of deploy.sh starts: it runs one command on the cluster that the options choose. */
import { realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { examine, formatDiagnoses } from "../../lib/cluster/doctor.ts";
import { status } from "../../lib/cluster/status.ts";
import { Failure } from "../../lib/failure.ts";
import { log, tailCommand } from "../../lib/process.ts";
import { note, showStage } from "../../lib/progress.ts";
import { checkout } from "../../lib/repository.ts";
import { EmbeddedCluster } from "../embedded/src/embedded.ts";
import { existingCluster } from "../existing/src/existing.ts";
import type { Cluster, Options, Stage } from "./cluster.ts";
import { Pipeline } from "./stages.ts";
import { Told } from "./told.ts";

/**
 * Runs one command.
 * @param args the command, options, and after `--` the titles of stages in their order
 * @returns the exit code
 */
export async function main(args: string[]): Promise<number> {
  const { command, options, titles } = readArguments(args);
  let code = 0;
  const failed = await reported(async () => {
    const cluster =
      options.context === undefined ? new EmbeddedCluster(options) : await existingCluster(command, options);
    code = await run(cluster, command, options, titles);
  });
  return failed || code;
}

/** Does something, and prints what went wrong with the next command. @returns the exit code, 0 or 1 */
export async function reported(work: () => Promise<void>): Promise<number> {
  try {
    await work();
    return 0;
  } catch (error) {
    tell(error);
    return 1;
  } finally {
    showStage("");
  }
}

/** deploy.sh has checked the arguments: usage() knows each option's name, and each has a value if it takes one. */
export function readArguments(args: string[]): { command: string; options: Options; titles: string[] } {
  const [command = "", ...rest] = args;
  const end = rest.includes("--") ? rest.indexOf("--") : rest.length;
  const options = rest.slice(0, end).map((option) => {
    const [, name = "", value] = /^--([^=]+)(?:=(.*))?$/s.exec(option) ?? [];
    return [name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()), value ?? true];
  });
  return { command, options: Object.fromEntries(options) as Options, titles: rest.slice(end + 1) };
}

async function run(cluster: Cluster, command: string, options: Options, titles: string[]): Promise<number> {
  switch (command) {
    case "bootstrap":
    case "restore":
      if (options.dryRun) print(await cluster.plan());
      else await bootstrap(cluster, titles);
      return 0;
    case "destroy":
      if (options.dryRun) print(await cluster.remains());
      else await runStages([["Destroy", () => cluster.destroy()]]);
      return 0;
    case "backup": {
      let told: string[] = [];
      const stage = async (): Promise<void> => {
        told = (await cluster.backup?.()) ?? [];
      };
      await runStages([["Backup", stage]]);
      print(told);
      return 0;
    }
    case "status": {
      const { lines, well } = await status();
      print(lines);
      return well ? 0 : 1;
    }
    case "doctor":
      return doctor(cluster);
    case "env":
      print(Object.entries(cluster.environment()).map(([name, value]) => `export ${name}="${value}"`));
      return 0;
    default:
      throw new Failure(`no command named ${command}`, "./deploy.sh --help");
  }
}

async function bootstrap(cluster: Cluster, titles: string[]): Promise<void> {
  log(`=== bootstrap of ${cluster.name} ===`);
  const started = Date.now();
  const pipeline = new Pipeline(cluster);
  await runStages(titles.map((title) => [title, pipeline.stage(title)]));
  const seconds = Math.floor((Date.now() - started) / 1000);
  const took = `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const rows = Object.entries(await cluster.summary()).map(([what, how]) => `  ${what.padEnd(10)} ${how}`);
  print(["", `The platform runs commit ${(pipeline.commit ?? "").slice(0, 12)} in ${took}.`, ...rows]);
}

/** Runs stages one after the other, with a line for each: its outcome and its seconds. */
export async function runStages(stages: [title: string, stage: Stage][]): Promise<void> {
  for (const [index, [title, stage]] of stages.entries()) {
    const line = `[${String(index + 1).padStart(2)}/${stages.length}] ${title.padEnd(26)}`;
    const started = Date.now();
    showStage(line);
    const interrupted = (): void => {
      process.stderr.write(`\n${line} interrupted\n`);
      process.exit(1);
    };
    for (const signal of signals) process.once(signal, interrupted);
    try {
      await stage();
    } catch (error) {
      tell(error);
      showStage("");
      process.stderr.write(`${line} failed\n`);
      throw new Told();
    } finally {
      for (const signal of signals) process.off(signal, interrupted);
    }
    showStage("");
    print([`${line} ${String(Math.floor((Date.now() - started) / 1000)).padStart(4)} s`]);
  }
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

async function doctor(cluster: Cluster): Promise<number> {
  const diagnoses = await cluster.examine();
  const isWrong = (): boolean => diagnoses.some(({ remedy }) => remedy);
  if (await cluster.hasPlatform()) diagnoses.push(...(await examine(checkout)));
  process.stdout.write(formatDiagnoses(diagnoses));
  return isWrong() ? 1 : 0;
}

/** Prints what went wrong and the next command. */
function tell(error: unknown): void {
  if (error instanceof Told) return;
  // The next step may be to read the log, so the error goes there, too.
  const said = error instanceof Failure ? error.message : error instanceof Error ? error.stack : undefined;
  log(said ?? String(error));
  const { stderr, message } = error as Error & { stderr?: string };
  note((stderr || message || String(error)).trim());
  note(`next: ${(error instanceof Failure && error.next) || tailCommand()}`);
}

function print(lines: string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

// This file may be started under its own path or, if Node keeps links, under that of a link.
const [, started = ""] = process.argv;
if (started && [started, realpathSync(started)].some((path) => import.meta.url === pathToFileURL(path).href))
  process.exitCode = await main(process.argv.slice(2));
