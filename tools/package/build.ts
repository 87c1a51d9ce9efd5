/** Builds the package that others install: `npm run package -- [DIRECTORY]`; nothing is published. */
import { createHash } from "node:crypto";
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { nodeBundle } from "../../lib/bundle.ts";
import { helm, kustomize, moduleFile, pinnedModules, prometheusOperator } from "../../lib/modules.ts";
import { checkout } from "../../lib/repository.ts";
import { compileSchemas, packagedSchemas } from "../src/schema/sources.ts";

const directory = resolve(process.argv[2] ?? join(checkout, "dist/package"));
const { version, license, engines } = JSON.parse(readFileSync(join(checkout, "package.json"), "utf8"));

rmSync(directory, { recursive: true, force: true });
mkdirSync(join(directory, "dist"), { recursive: true });
const schemas = JSON.stringify(await compileSchemas(checkout));
writeFileSync(join(directory, packagedSchemas), gzipSync(schemas, { level: 9 }));

// go.mod and go.sum say which versions the schemas are of, and compile kustomize and Helm where they are not installed.
for (const module of [...pinnedModules, prometheusOperator]) {
  const sums = module === helm || module === kustomize ? [moduleFile(module).replace(/mod$/, "sum")] : [];
  for (const file of [moduleFile(module), ...sums]) {
    mkdirSync(dirname(join(directory, file)), { recursive: true });
    cpSync(join(checkout, file), join(directory, file));
  }
}

const bundle = async (name: string): Promise<string> => {
  const { outputFiles } = await build({
    ...nodeBundle,
    entryPoints: [join(checkout, "tools/src/standalone.ts")],
    legalComments: "inline",
    define: { GITOPS_BUILD: JSON.stringify(name) },
    write: false,
  });
  return outputFiles[0]?.text ?? "";
};
const name = createHash("sha256")
  .update(await bundle(""))
  .update(schemas)
  .digest("hex")
  .slice(0, 12);
const program = join(directory, "dist/gitops.js");
writeFileSync(program, await bundle(name));
chmodSync(program, 0o755);

for (const file of ["LICENSE", "tools/README.md"])
  cpSync(join(checkout, file), join(directory, file.split("/").pop() ?? file));
const manifest = {
  name: "gitops-validate",
  version,
  description:
    "Renders and checks Argo CD repositories: Applications, ApplicationSets, kustomize, Helm, schemas",
  license,
  type: "module",
  engines,
  bin: { gitops: "dist/gitops.js" },
  files: ["dist", packagedSchemas, "bootstrap", "tools"],
};
writeFileSync(join(directory, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
process.stdout.write(`${directory}\n`);
