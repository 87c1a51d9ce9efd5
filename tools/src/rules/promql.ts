/** Checks the types in a PromQL expression whose syntax is right. Prometheus refuses a rule with wrong types. */
import type { SyntaxNode, Tree } from "@lezer/common";
import { RE2JS } from "re2js";
import { regexFlaw } from "../schema/regex.ts";

type Type = "scalar" | "vector" | "matrix" | "string";

const overRanges =
  /^(\w+_over_time|rate|irate|increase|delta|idelta|deriv|predict_linear|changes|resets|holt_winters|double_exponential_smoothing)$/;
const comparisons = ["Eql", "Neq", "Gtr", "Lss", "Gte", "Lte"];
const sets = ["And", "Or", "Unless"];

/**
 * Says what is wrong with the types of an expression; undefined if nothing is.
 * @param isRule true for an expression of a rule, whose result must be a value and not a range
 */
export function promqlFlaw(tree: Tree, text: string, isRule: boolean): string | undefined {
  const flaws: string[] = [];
  const top = tree.topNode.firstChild;
  const type = top ? typeOf(top, text, flaws) : undefined;
  if (isRule && (type === "matrix" || type === "string"))
    flaws.push(`the result is a ${type === "matrix" ? "range" : "string"}, not a value`);
  return flaws[0];
}

const childrenOf = (node: SyntaxNode): SyntaxNode[] => {
  const children: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) children.push(child);
  return children;
};
const isExpression = ({ name }: SyntaxNode): boolean =>
  /(Expr|Selector|Literal|Call)$/.test(name) && !/DurationExpr$/.test(name);
const part = (node: SyntaxNode, text: string): string => text.slice(node.from, node.to);

function typeOf(node: SyntaxNode, text: string, flaws: string[]): Type {
  const inner = childrenOf(node).filter(isExpression);
  const types = (nodes: SyntaxNode[]): Type[] => nodes.map((child) => typeOf(child, text, flaws));
  switch (node.name) {
    case "NumberDurationLiteral":
      return "scalar";
    case "StringLiteral":
      return "string";
    case "VectorSelector":
      matchers(node, text, flaws);
      return "vector";
    case "MatrixSelector":
      types(inner);
      if (inner[0]?.name !== "VectorSelector")
        flaws.push(`a range needs a metric in front, not ${inner[0] ? part(inner[0], text) : "nothing"}`);
      return "matrix";
    case "SubqueryExpr":
      if (types(inner)[0] !== "vector") flaws.push(`a subquery needs a vector in front: ${part(node, text)}`);
      return "matrix";
    case "ParenExpr":
    case "OffsetExpr":
    case "StepInvariantExpr":
      return types(inner)[0] ?? "vector";
    case "UnaryExpr":
      return types(inner)[0] ?? "vector";
    case "BinaryExpr":
      return binary(node, text, types(inner), flaws);
    case "FunctionCall":
      return call(node, text, flaws);
    case "AggregateExpr": {
      const body = node.getChild("FunctionCallBody");
      const last = types(body ? childrenOf(body).filter(isExpression) : []).at(-1);
      if (last !== "vector")
        flaws.push(`an aggregation needs a vector, not a ${last ?? "missing one"}: ${part(node, text)}`);
      return "vector";
    }
    default:
      types(inner);
      return "vector";
  }
}

function binary(node: SyntaxNode, text: string, [left, right]: Type[], flaws: string[]): Type {
  const sides = [left, right];
  const has = (names: string[]): boolean => names.some((name) => node.getChild(name));
  if (sides.includes("matrix") || sides.includes("string"))
    flaws.push(`an operator does not accept a range or a string: ${part(node, text)}`);
  else if (has(sets) && sides.includes("scalar"))
    flaws.push(`and, or and unless need vectors on both sides: ${part(node, text)}`);
  else if (has(comparisons) && left === "scalar" && right === "scalar" && !/\bbool\b/.test(part(node, text)))
    flaws.push(`two numbers are compared without bool: ${part(node, text)}`);
  return left === "scalar" && right === "scalar" ? "scalar" : "vector";
}

function call(node: SyntaxNode, text: string, flaws: string[]): Type {
  const identifier = node.getChild("FunctionIdentifier");
  const name = identifier ? part(identifier, text) : "";
  const body = node.getChild("FunctionCallBody");
  const given = (body ? childrenOf(body).filter(isExpression) : []).map((child) =>
    typeOf(child, text, flaws),
  );
  const ranges = given.filter((type) => type === "matrix").length;
  if (overRanges.test(name) && ranges !== 1)
    flaws.push(`${name} needs a range such as [5m]: ${part(node, text)}`);
  if (!overRanges.test(name) && ranges > 0) flaws.push(`${name} takes no range: ${part(node, text)}`);
  return ["time", "scalar", "pi"].includes(name) ? "scalar" : "vector";
}

function matchers(node: SyntaxNode, text: string, flaws: string[]): void {
  const all = node.getChild("LabelMatchers");
  const isNamed = node.getChild("Identifier") !== null;
  let isSelective = isNamed;
  for (const matcher of all ? childrenOf(all) : []) {
    const [operation] = matcher.getChild("MatchOp")
      ? childrenOf(matcher.getChild("MatchOp") as SyntaxNode)
      : [];
    const literal = matcher.getChild("StringLiteral");
    if (!literal || !operation) {
      isSelective = true;
      continue;
    }
    const value = part(literal, text).slice(1, -1);
    const isRegex = /Regex/.test(operation.name);
    // Escapes in a quoted string follow Go's rules, and are not checked here.
    if (isRegex && value.includes("\\") && !part(literal, text).startsWith("`")) {
      isSelective = true;
      continue;
    }
    if (isRegex && regexFlaw(value) !== undefined) {
      flaws.push(`${JSON.stringify(value)} is not a valid regular expression (RE2)`);
      return;
    }
    const takesEmpty = isRegex ? RE2JS.matches(value, "") : value === "";
    const isNegative = operation.name.startsWith("Neq");
    if (takesEmpty === isNegative) isSelective = true;
  }
  if (!isSelective)
    flaws.push(`a selector needs a metric or a matcher that is not empty: ${part(node, text)}`);
}
