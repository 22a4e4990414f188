// Reads {"tables": {table: {column: type}}, "queries": {name: text}} and tells, of each query, what Microsoft's own
// parser and binder for KQL say of it: {name: {"problems": [...], "columns": {column: type}}}.
// The package is compiled from C# for browsers: its two files are scripts that make globals, in this order.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const folder = path.dirname(require.resolve("@kusto/language-service-next/package.json"));
for (const file of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  vm.runInThisContext(fs.readFileSync(path.join(folder, file), "utf8"), { filename: file });
}

const { KustoCode, GlobalState, Symbols } = globalThis.Kusto.Language;

function listed(list) {
  const count = list === null ? 0 : globalThis.System.Array.getCount(list);
  return Array.from({ length: count }, (_, index) => globalThis.System.Array.getItem(list, index));
}

function table(name, columns) {
  const schema = Object.entries(columns).map(([column, type]) => `${column}:${type}`);
  return Symbols.TableSymbol.From(`(${schema.join(", ")})`).WithName(name);
}

function judged(text, globals) {
  const code = KustoCode.ParseAndAnalyze(text, globals);
  const problems = listed(code.GetDiagnostics()).map((found) => {
    const line = text.slice(0, found.Start).split("\n").length;
    return `line ${line}: ${found.Severity} ${found.Code}: ${found.Message}`;
  });
  const columns = problems.length ? [] : listed(code.ResultType.Columns).map((column) => [column.Name, column.Type.Name]);
  return { problems, columns: Object.fromEntries(columns) };
}

const { tables, queries } = JSON.parse(fs.readFileSync(0, "utf8"));
const database = new Symbols.DatabaseSymbol.ctor("workspace", Object.entries(tables).map(([name, columns]) => table(name, columns)));
const globals = GlobalState.Default.WithDatabase(database);
const answers = Object.entries(queries).map(([name, text]) => [name, judged(text, globals)]);
process.stdout.write(JSON.stringify(Object.fromEntries(answers)));
