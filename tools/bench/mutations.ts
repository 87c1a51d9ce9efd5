/**
 * What `validate` finds of what an API server refuses: `npm run bench:mutations -- --count 3000 --seed 1`.
 *
 * Mistakes are made in the rendered objects of a cluster, one at a time, and each is sent as a dry run to the server of
 * KUBECONFIG, with its admission webhooks. `--record FILE` keeps the verdicts on the sample repository of the tests instead.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { concurrently } from "../../lib/concurrency.ts";
import { describeObject, formatPath, type Manifest } from "../../lib/object.ts";
import { Cache } from "../../lib/render/cache.ts";
import { cacheDirectory, checkout } from "../../lib/repository.ts";
import { MutableCluster } from "../mutations/cluster.ts";
import { type Mutation, mistakeAmong, mutate } from "../mutations/mutations.ts";
import { numbers } from "../mutations/random.ts";
import { ApiServer, type Verdict } from "../mutations/server.ts";
import { isStricter } from "../mutations/stricter.ts";
import { Sample } from "../test/corpus.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "3000" },
    seed: { type: "string", default: "1" },
    record: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
});
const kubeconfig = process.env.KUBECONFIG ?? "/var/lib/logging-platform/kubeconfig/admin.yaml";

interface Tried {
  manifest: Manifest;
  mutation: Mutation;
  verdict: Verdict;
  findings: string[];
}

const sample = values.record === undefined ? undefined : await Sample.of("shop");
const cluster = await MutableCluster.of(
  sample?.directory ?? checkout,
  sample ? "one" : "embedded",
  new Cache(sample ? undefined : cacheDirectory),
);
const server = new ApiServer(kubeconfig);
try {
  const tried = await tryAll();
  if (values.record !== undefined) record(values.record, tried);
  process.stdout.write(report(tried));
} finally {
  server.close();
  sample?.remove();
}

async function tryAll(): Promise<Tried[]> {
  const known: Manifest[] = [];
  for (const manifest of cluster.manifests) {
    const { object } = manifest;
    // The sample has open definitions of its own for what the Prometheus operator defines.
    if (sample && object.apiVersion.startsWith("monitoring.coreos.com/")) continue;
    if (!(await server.knows(object))) continue;
    const { isRefused, reason } = await server.verdict(object, object);
    // A node port may be taken by the object itself.
    if (isRefused) process.stderr.write(`left out, refused as it is: ${describeObject(object)}: ${reason}\n`);
    else known.push(manifest);
  }
  const random = numbers(Number(values.seed));
  const chosen: { manifest: Manifest; mutation: Mutation }[] = [];
  while (chosen.length < Number(values.count)) {
    const tried = mistakeAmong(known, random);
    // The objects are tried in a namespace that is there.
    if (tried.mutation.path[1] !== "namespace") chosen.push(tried);
  }
  const started = Date.now();
  const verdicts = await concurrently(chosen, ({ manifest, mutation }) =>
    server.verdict(manifest.object, mutate(manifest.object, mutation)),
  );
  const asked = Date.now();
  const tried: Tried[] = [];
  for (const [index, { manifest, mutation }] of chosen.entries()) {
    const findings = await cluster.findings(manifest, mutate(manifest.object, mutation));
    tried.push({ manifest, mutation, findings, verdict: verdicts[index] as Verdict });
  }
  process.stderr.write(
    `${chosen.length} mutations of ${known.length} objects: the server took ${(asked - started) / 1000} s, validate ${(Date.now() - asked) / 1000} s\n`,
  );
  return tried;
}

function report(tried: Tried[]): string {
  const kinds = [...new Set(tried.map(({ mutation }) => mutation.kind))].sort();
  const row = (name: string, some: Tried[]): string => {
    const refused = some.filter(({ verdict }) => verdict.isRefused);
    const accepted = some.filter(({ verdict }) => !verdict.isRefused);
    const found = refused.filter(({ findings }) => findings.length > 0).length;
    const extra = accepted.filter(({ findings }) => findings.length > 0);
    const meant = extra.filter(({ findings }) => findings.every(isStricter)).length;
    const share = refused.length === 0 ? "" : ((100 * found) / refused.length).toFixed(1);
    return `| ${name} | ${refused.length} | ${found} | ${share} | ${accepted.length} | ${meant} | ${extra.length - meant} |\n`;
  };
  const rows = kinds.map((kind) =>
    row(
      kind,
      tried.filter(({ mutation }) => mutation.kind === kind),
    ),
  );
  const details = values.verbose ? `\n${tried.flatMap(surprise).join("")}` : "";
  return `| mistake | refused by the server | found of them | % | accepted | found on purpose | found otherwise |
| --- | --- | --- | --- | --- | --- | --- |
${rows.join("")}${row("all", tried)}${details}`;
}

function surprise({ manifest, mutation, verdict, findings }: Tried): string[] {
  const what = `${describeObject(manifest.object)} ${formatPath(mutation.path)} = ${JSON.stringify(mutation.value)} (${mutation.kind})`;
  if (verdict.isRefused && findings.length === 0)
    return [`MISSED ${what}\n    ${verdict.reason.slice(0, 400)}\n`];
  if (!verdict.isRefused && findings.some((finding) => !isStricter(finding)))
    return [`EXTRA ${what}\n    ${findings.filter((finding) => !isStricter(finding)).join("\n    ")}\n`];
  return [];
}

function record(file: string, tried: Tried[]): void {
  const lines = tried.map(({ manifest, mutation, verdict }) =>
    JSON.stringify({ object: describeObject(manifest.object), ...mutation, refused: verdict.isRefused }),
  );
  writeFileSync(file, `[\n  ${[...new Set(lines)].join(",\n  ")}\n]\n`);
}
