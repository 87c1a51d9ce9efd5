import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Git } from "../../lib/git/git.ts";
import type { KubernetesObject } from "../../lib/object.ts";
import { blastRadius, compare, consequences, formatBlastRadius } from "../src/diff.ts";
import { replaceSetting, replaceYamlScalar } from "../src/git/scalar.ts";
import { Sample } from "./corpus.ts";

const object = (kind: string, name: string, more: object = {}): KubernetesObject => ({
  apiVersion: "v1",
  kind,
  metadata: { name, namespace: "shop" },
  ...more,
});
const deployment = (image: string, replicas = 2): KubernetesObject =>
  object("Deployment", "cart", { spec: { replicas, template: { spec: { containers: [{ image }] } } } });

describe("a difference", () => {
  test("names the fields that change and the pods that restart", () => {
    const difference = compare("one", [deployment("a:1")], [deployment("a:2", 3)]);
    expect(difference.changed[0]?.fields).toEqual([
      { path: ["spec", "replicas"], before: 2, after: 3 },
      { path: ["spec", "template", "spec", "containers", 0, "image"], before: "a:1", after: "a:2" },
    ]);
    expect(consequences(difference)).toEqual(["restarts the pods of Deployment shop/cart (3)"]);
    expect(consequences(compare("one", [deployment("a:1")], [deployment("a:1", 3)]))).toEqual([
      "scales Deployment shop/cart to 3",
    ]);
  });

  test("is none where only the order of fields differs", () => {
    const reversed = JSON.parse(
      '{"metadata":{"namespace":"shop","name":"a"},"kind":"Service","apiVersion":"v1"}',
    );
    expect(compare("one", [object("Service", "a")], [reversed])).toMatchObject({
      created: [],
      changed: [],
      deleted: [],
    });
  });

  test("takes a generated object with other content for the same", () => {
    const [before, after] = ["g49mc749t9", "7kcc9c8c79"].map((hash) =>
      object("ConfigMap", `cart-config-${hash}`),
    );
    const difference = compare("one", [before as KubernetesObject], [after as KubernetesObject]);
    expect(difference).toMatchObject({
      created: [],
      deleted: [],
      changed: [{ fields: [{ path: ["metadata", "name"] }] }],
    });
    const other = compare(
      "one",
      [object("Service", "cart-g49mc749t9")],
      [object("Service", "cart-7kcc9c8c79")],
    );
    expect(other).toMatchObject({ created: [{}], deleted: [{}] });
  });

  test("warns of what a deletion takes with it", () => {
    const deleted = [
      object("CustomResourceDefinition", "a"),
      object("Namespace", "b"),
      object("PersistentVolumeClaim", "c"),
    ];
    expect(consequences(compare("one", deleted, []))).toEqual([
      "deletes CustomResourceDefinition shop/a, and with it every resource of that kind",
      "deletes Namespace shop/b, and with it everything in it",
      "deletes PersistentVolumeClaim shop/c, and with it its data",
    ]);
  });
});

describe("of a real repository", () => {
  let sample: Sample;
  const cart = "gitops/apps/shop/base/cart";
  beforeAll(async () => {
    sample = await Sample.of("shop");
  }, 900_000);
  afterAll(() => sample.remove());

  test("the deletions must be meant by a commit", async () => {
    const base = await sample.git("rev-parse", "HEAD");
    const file = join(sample.directory, cart, "kustomization.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replace("  - networkpolicy.yaml\n", ""));
    rmSync(join(sample.directory, cart, "networkpolicy.yaml"));
    const radius = await blastRadius(sample.directory, base);
    expect(radius.unacknowledged).toEqual(["NetworkPolicy shop/cart"]);
    expect(formatBlastRadius({ ...radius, base: "main" })).toBe(
      [
        "# Against main",
        "",
        "## one: 0 created, 0 changed, 1 deleted",
        "",
        "**Deleted**",
        "",
        "- NetworkPolicy shop/cart",
        "",
        "Deletions must be confirmed. Add this to the commit message:",
        "",
        "    Deletes: NetworkPolicy shop/cart",
        "",
      ].join("\n"),
    );
    // Whatever the person calls that trailer when they write it themselves.
    await sample.git("config", "trailer.deletes.key", "Loescht");
    await sample.commit("refactor: no policy\n\nDeletes: NetworkPolicy shop/cart");
    expect((await blastRadius(sample.directory, base)).unacknowledged).toEqual([]);
    expect(await new Git(sample.directory).run("worktree", "list", "--porcelain")).not.toContain(
      "gitops-base-",
    );
    await sample.restore();
  });
});

describe("a scalar", () => {
  test("is replaced and nothing around it", () => {
    const text = "a: # first\n  - {b: 'x', c: 1}   # odd\n  - b:  x # why\r\n";
    expect(replaceYamlScalar("f", text, ["a", 0, "b"], "y")).toBe(text.replace("'x'", "'y'"));
    expect(replaceYamlScalar("f", text, ["a", 1, "b"], "012")).toBe(text.replace("b:  x", 'b:  "012"'));
    expect(() => replaceYamlScalar("f", text, ["a", 2, "b"], "y")).toThrow("f has no value at a[2].b");
  });

  test("in a line of settings too", () => {
    expect(replaceSetting("f", "#A=1\r\nA=1\r\nAA=1", "A", "$2")).toBe("#A=1\r\nA=$2\r\nAA=1");
    expect(() => replaceSetting("f", "A=1\nA=2\n", "A", "3")).toThrow("f has 2 lines A=");
  });
});
