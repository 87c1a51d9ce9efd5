// @module-tag slow
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { installRclone } from "./rclone.ts";
import { type S3, startS3 } from "./s3.ts";

const directory = mkdtempSync(join(tmpdir(), "s3-test-"));
let s3: S3;

beforeAll(async () => {
  s3 = await startS3();
  // A cold build of the server takes two minutes of processor time.
}, 900_000);

afterAll(async () => {
  await s3?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const rclone = (...args: string[]) => execa("rclone", args, { env: s3.env, reject: false });

/** Writes a file of random bytes; returns its path and SHA-256. */
function file(name: string, bytes: number): [string, string] {
  const content = randomBytes(bytes);
  writeFileSync(join(directory, name), content);
  return [join(directory, name), createHash("sha256").update(content).digest("hex")];
}

const listed = async (path: string): Promise<string[]> => {
  const { stdout, stderr, exitCode } = await rclone("lsf", `${s3.remote}/${path}`);
  if (exitCode !== 0) throw new Error(stderr);
  return stdout === "" ? [] : stdout.split("\n").sort();
};

const sumOf = async (path: string): Promise<string | undefined> =>
  (await rclone("hashsum", "sha256", "--download", `${s3.remote}/${path}`)).stdout.split(" ")[0];

describe("a round trip through rclone", () => {
  test.each([0, 1, 5_000, 12 * 1024 * 1024])("of %i bytes", async (bytes) => {
    const [path, sum] = file("there", bytes);
    expect(await rclone("copyto", path, `${s3.remote}/trip/there`)).toMatchObject({
      exitCode: 0,
      stderr: "",
    });
    expect(await listed("trip")).toEqual(["there"]);
    expect(await sumOf("trip/there")).toBe(sum);
    expect((await rclone("copyto", `${s3.remote}/trip/there`, join(directory, "back"))).exitCode).toBe(0);
    expect(readFileSync(join(directory, "back")).equals(readFileSync(path))).toBe(true);
    expect((await rclone("deletefile", `${s3.remote}/trip/there`)).exitCode).toBe(0);
    expect(await listed("")).toEqual([]);
  });

  test("a file that is replaced has its new content", async () => {
    await rclone("copyto", file("old", 100)[0], `${s3.remote}/replaced/name`);
    const [path, sum] = file("new", 90);
    await rclone("copyto", path, `${s3.remote}/replaced/name`);
    expect([await listed("replaced"), await sumOf("replaced/name")]).toEqual([["name"], sum]);
  });

  test("a directory that is not there is listed as a failure, not as empty", async () => {
    expect(await rclone("lsf", `${s3.remote}x/path`)).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("directory not found"),
    });
  });
});

describe("wrong credentials are refused, for reading and for writing", () => {
  test.each([
    ["RCLONE_CONFIG_S3_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"],
    ["RCLONE_CONFIG_S3_ACCESS_KEY_ID", "InvalidAccessKeyId"],
  ])("%s", async (variable, code) => {
    const [path] = file("refused", 10);
    const env = { ...s3.env, [variable]: "something-else" };
    const options = { env, reject: false } as const;
    const list = await execa("rclone", ["lsf", "--retries", "1", s3.remote], options);
    expect([list.exitCode, list.stderr]).toEqual([1, expect.stringContaining(code)]);
    const copy = await execa(
      "rclone",
      ["copyto", "--retries", "1", path, `${s3.remote}/refused/name`],
      options,
    );
    expect([copy.exitCode, copy.stderr]).toEqual([1, expect.stringContaining("status code: 403")]);
    expect(await listed("")).not.toContain("refused/");
  });
});

describe("the server is killed while a file is uploaded", () => {
  const once = ["--retries", "1", "--low-level-retries", "1"];
  const inParts = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "--s3-upload-concurrency", "1"];
  const ways: [string, string[]][] = [
    ["at once", []],
    ["in parts", inParts],
  ];

  /** Starts an upload that takes seconds, and kills the server when a share of the bytes is under way. */
  async function killedUpload(path: string, target: string, bytes: number, flags: string[]) {
    const stats = ["--stats", "50ms", "--stats-log-level", "NOTICE", "--use-json-log"];
    const upload = rclone("copyto", "--bwlimit", "4M", ...stats, ...flags, path, target);
    await new Promise<void>((resolve) => {
      upload.stderr.on("data", (text) => {
        if ([...String(text).matchAll(/"bytes":(\d+)/g)].some(([, sent]) => Number(sent) > bytes)) resolve();
      });
      void upload.then(() => resolve());
    });
    expect(upload.exitCode).toBeNull();
    await s3.kill();
    return { upload };
  }

  test.each(ways)(
    "%s: without retries it fails, nothing of the file is listed, and the next copy is whole",
    async (way, flags) => {
      const name = `killed ${way}`;
      const [path, sum] = file(name, 12 * 1024 * 1024);
      const { upload } = await killedUpload(path, `${s3.remote}/${name}/file`, 7_000_000, [
        ...once,
        ...flags,
      ]);
      expect((await upload).exitCode).not.toBe(0);
      await s3.restart();
      expect(await listed("")).not.toContain(`${name}/`);
      expect((await rclone("copyto", ...flags, path, `${s3.remote}/${name}/file`)).exitCode).toBe(0);
      expect(await sumOf(`${name}/file`)).toBe(sum);
    },
  );

  test.each(ways)("%s: rclone's retries outlast a server that comes back", async (way, flags) => {
    const name = `outlasted ${way}`;
    const [path, sum] = file(name, 12 * 1024 * 1024);
    const { upload } = await killedUpload(path, `${s3.remote}/${name}/file`, 7_000_000, [
      "--retries",
      "5",
      ...flags,
    ]);
    await s3.restart();
    expect((await upload).exitCode).toBe(0);
    expect(await sumOf(`${name}/file`)).toBe(sum);
  });
});

describe("where rclone is missing", () => {
  test("and may not be installed, the failure says what to install", async () => {
    const path = process.env.PATH;
    const programs = mkdtempSync(join(directory, "programs-"));
    symlinkSync("/bin/sh", join(programs, "sh"));
    chmodSync(programs, 0o755);
    process.env.PATH = programs;
    try {
      await expect(installRclone()).rejects.toThrow("apt-get install rclone");
    } finally {
      process.env.PATH = path;
    }
  });
});
