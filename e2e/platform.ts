/** The running platform: its addresses in the environment, and the command that brings it up. */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

/** Root of the checkout. */
export const repository = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Puts what `./deploy.sh env` exports into this process and those it starts; refuses to go on without a platform. */
export async function setup(): Promise<void> {
  // Every variable NUL-terminated: PATH is only complete after the shell has expanded it.
  const { stdout } = await execa("bash", ["-c", 'eval "$(./deploy.sh env)" && env --null'], {
    cwd: repository,
  });
  for (const entry of stdout.split("\0")) {
    const [, name, value] =
      /^(PATH|KUBECONFIG|REGISTRY|REGISTRY_AUTH_FILE|\w+_URL|(?:GIT_CONFIG|IMAGE|BUILDAH|CONTAINERS)_\w+)=(.*)$/s.exec(
        entry,
      ) ?? [];
    if (name !== undefined) process.env[name] = value;
  }
  const answer = await execa("kubectl", ["get", "--raw", "/readyz"], { reject: false, timeout: 30_000 });
  if (answer.stdout !== "ok") throw new Error("no platform: run ./deploy.sh");
}

/** A variable that `./deploy.sh env` exports, such as APP_URL. */
export function exported(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`./deploy.sh env exports no ${name}`);
  return value;
}

/** What a run of `deploy.sh` answered, and in how many seconds. */
export interface Run {
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
  seconds: number;
}

/** Runs `./deploy.sh` to its end, whatever that is. */
export async function deploy(args: string[] = [], env: Record<string, string> = {}): Promise<Run> {
  const started = Date.now();
  const { exitCode, stdout, stderr } = await execa("./deploy.sh", args, {
    cwd: repository,
    env,
    reject: false,
    stdin: "ignore",
  });
  return { exitCode, stdout, stderr, seconds: secondsSince(started) };
}

/** Runs the GitOps tool of this checkout to its end, whatever that is. */
export async function gitops(...args: string[]): Promise<Omit<Run, "seconds">> {
  const tsx = `${repository}/node_modules/.bin/tsx`;
  const { exitCode, stdout, stderr } = await execa(tsx, [`${repository}/tools/src/cli.ts`, ...args], {
    reject: false,
    timeout: 900_000,
  });
  return { exitCode, stdout, stderr };
}

/** Seconds since a moment of `Date.now()`, to one decimal. */
export const secondsSince = (started: number): number => Math.round((Date.now() - started) / 100) / 10;
