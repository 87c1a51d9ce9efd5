/** Runs other programs: their output goes to the log file, and their failures become errors that say what to look at. */
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa, type Options } from "execa";
import { Failure } from "./failure.ts";
import { quoted } from "./quoted.ts";

/** The file that receives every command and what it printed. */
export const logFile = (): string =>
  process.env.DEPLOY_LOG ?? join(process.env.STATE_DIR ?? "/var/lib/logging-platform", "log/deploy.log");

/** The command that shows the end of a log file, by default that of this run. */
export const tailCommand = (file = logFile()): string => `tail -n 40 ${quoted(file)}`;

/** Appends one line to the log file. */
export function log(line: string): void {
  mkdirSync(dirname(logFile()), { recursive: true });
  appendFileSync(logFile(), `${new Date().toISOString()} ${line}\n`);
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  input?: string | Uint8Array;
  /** Exit codes that are answers rather than failures. */
  accept?: number[];
  /** Called with each line of standard error while the program runs. */
  onLine?: (line: string) => void;
  timeoutMs?: number;
  quiet?: boolean;
}

/**
 * Runs a program and returns its standard output.
 * @throws Failure with the program's last output when it exits with a code that is not accepted
 */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<string> {
  if (!options.quiet) log(`$ ${command} ${args.join(" ")}`);
  const settings: Options = {
    reject: false,
    maxBuffer: 512 * 1024 * 1024,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    ...(options.input === undefined ? { stdin: "ignore" } : { input: options.input }),
  };
  const child = execa(command, args, settings);
  const onLine = options.onLine;
  if (onLine) {
    let rest = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(line);
    });
  }
  const result = await child;
  const stdout = String(result.stdout ?? "");
  const stderr = String(result.stderr ?? "");
  if (!options.quiet)
    for (const text of [stdout, stderr])
      if (text) log(text.length > 20_000 ? `${text.slice(0, 20_000)} …` : text);
  const accepted = [0, ...(options.accept ?? [])];
  if (result.exitCode === undefined || !accepted.includes(result.exitCode)) {
    const words = (stderr || stdout || result.shortMessage || "no output")
      .trim()
      .split("\n")
      .slice(-6)
      .join("\n  ");
    throw new Failure(
      `${command} ${args.slice(0, 3).join(" ").slice(0, 80)} failed (exit ${result.exitCode ?? result.signal ?? "unknown"}):\n  ${words}`,
      tailCommand(),
    );
  }
  return stdout;
}

/** True when the program exits with 0. */
export async function succeeds(command: string, args: string[], options: RunOptions = {}): Promise<boolean> {
  try {
    await run(command, args, { quiet: true, ...options });
    return true;
  } catch {
    return false;
  }
}
