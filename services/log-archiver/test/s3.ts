/** A real S3 server below a temporary directory, and how rclone reaches it. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { freePort } from "../../../lib/test/free-port.ts";
import { goProgram } from "./go-program.ts";
import { installRclone } from "./rclone.ts";

/** A running S3 server with one bucket. */
export interface S3 {
  /** The bucket as rclone names it. */
  remote: string;
  /** What rclone needs in its environment to reach the server as its owner. */
  env: Record<string, string>;
  /** What is below it outlives `kill` and goes with `stop`; the bucket's objects are the files of `objects/bucket`. */
  directory: string;
  /** Ends the server as a power failure would. */
  kill(): Promise<void>;
  /** Starts it again after `kill`: the same address, credentials and objects. */
  restart(): Promise<void>;
  /** Ends the server and removes what it kept. */
  stop(): Promise<void>;
}

/**
 * Starts an S3 server on a free port of `host` and creates a bucket. Builds the server and installs rclone first
 * where they are missing.
 * @throws an error with the server's last words where it does not answer
 */
export async function startS3({ host = "127.0.0.1" }: { host?: string } = {}): Promise<S3> {
  const [binary] = await Promise.all([
    goProgram("versitygw", join(import.meta.dirname, "s3")),
    installRclone(),
  ]);
  const directory = mkdtempSync(join(tmpdir(), "s3-"));
  const [access, secret] = [randomBytes(10).toString("hex"), randomBytes(20).toString("hex")];
  const address = `${host.includes(":") ? `[${host}]` : host}:${await freePort(host)}`;
  const objects = join(directory, "objects");
  // Attributes are kept in files of their own: /tmp may be on a file system without extended attributes.
  const attributes = join(directory, "attributes");
  // With accounts of its own it answers an unknown key with 403, as S3 does; without, with 404.
  const accounts = join(directory, "accounts");
  for (const path of [objects, attributes, accounts]) mkdirSync(path);
  let server: ChildProcess | undefined;

  const restart = async (): Promise<void> => {
    server = spawn(
      binary,
      [
        "--port",
        address,
        "--quiet",
        "--keep-alive",
        "--health",
        "/health",
        "--iam-dir",
        accounts,
        "posix",
        "--sidecar",
        attributes,
        objects,
      ],
      {
        cwd: directory,
        env: { ROOT_ACCESS_KEY: access, ROOT_SECRET_KEY: secret },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    await answers(server, `http://${address}/health`);
  };
  const kill = async (): Promise<void> => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    server.kill("SIGKILL");
    await once(server, "exit");
  };
  const stop = async (): Promise<void> => {
    await kill();
    rmSync(directory, { recursive: true, force: true });
  };

  const direct = [process.env.no_proxy ?? process.env.NO_PROXY, host].filter(Boolean).join(",");
  const env = {
    RCLONE_CONFIG: "/dev/null",
    RCLONE_CONFIG_S3_TYPE: "s3",
    RCLONE_CONFIG_S3_PROVIDER: "Other",
    RCLONE_CONFIG_S3_ENDPOINT: `http://${address}`,
    RCLONE_CONFIG_S3_REGION: "us-east-1",
    RCLONE_CONFIG_S3_ACCESS_KEY_ID: access,
    RCLONE_CONFIG_S3_SECRET_ACCESS_KEY: secret,
    // rclone 1.60 refuses every S3 remote where this variable is set ("unsupported transport").
    AWS_CA_BUNDLE: "",
    no_proxy: direct,
    NO_PROXY: direct,
  };
  try {
    await restart();
    await execa("rclone", ["mkdir", "s3:bucket"], { env });
  } catch (cause) {
    await stop();
    throw cause;
  }
  return { remote: "s3:bucket", env, directory, kill, restart, stop };
}

async function answers(server: ChildProcess, url: string): Promise<void> {
  let words = "";
  server.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-2000);
  });
  for (;;) {
    if (server.exitCode !== null || server.signalCode !== null)
      throw new Error(`the S3 server ended before it answered on ${url}: ${words}`);
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    await sleep(50);
  }
}
