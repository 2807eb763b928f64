// The import rules of ARCHITECTURE.md ("Never") as dependency-cruiser checks them; what imports cannot show is in scripts/lint-rules.mjs.
const rooms = '(sources|decode|transforms|sinks)';

module.exports = {
  forbidden: [
    {
      name: 'never-1-rooms-meet-in-topology',
      comment: 'sources, decode, transforms and sinks know nothing of one another: topology/ joins them, shared types live in events/.',
      severity: 'error',
      from: { path: `^host/src/${rooms}/` },
      to: { path: `^host/src/${rooms}/`, pathNot: '^host/src/$1/' },
    },
    {
      name: 'never-2-transforms-stay-apart',
      comment: 'enrich, redact and correlate do not import one another.',
      severity: 'error',
      from: { path: '^host/src/transforms/(enrich|redact|correlate)[./]' },
      to: { path: '^host/src/transforms/(enrich|redact|correlate)[./]', pathNot: '^host/src/transforms/$1[./]' },
    },
    {
      name: 'never-3-events-and-gen-are-the-floor',
      comment: 'events/ and gen/ import each other and what comes with Node, nothing else.',
      severity: 'error',
      from: { path: '^host/src/(events|gen)/' },
      to: { pathNot: '^host/src/(events|gen)/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'never-4-host-loads-wasm-only',
      comment: 'The host loads .wasm files; the sources of the decoders are another language.',
      severity: 'error',
      from: { path: '^(host|bench)/' },
      to: { path: '^decoders-as/' },
    },
    {
      name: 'never-5-one-door-to-native',
      comment: 'Only the ebpf source may reach the addon.',
      severity: 'error',
      from: { path: '^host/', pathNot: '^host/src/sources/ebpf/' },
      to: { path: '(^native/|[.]node$)' },
    },
    {
      name: 'never-6-shard-code-knows-no-configuration',
      comment: 'What runs in a shard worker gets all it needs in its tasks.',
      severity: 'error',
      from: { path: '^host/src/(decode|transforms)/' },
      to: { path: '(^host/src/(config|topology|sinks)/|^native/|[.]node$)' },
    },
    {
      name: 'never-7-nothing-imports-the-front-ends',
      comment: 'cli/ is where programs begin, and alone opens what api/ serves: nobody else imports either.',
      severity: 'error',
      from: { path: '^(host|bench)/', pathNot: '^host/src/(cli|api)/' },
      to: { path: '^host/src/(cli|api)/' },
    },
    {
      name: 'never-7-the-api-is-given-what-it-serves',
      comment: 'api/ knows HTTP and its bounds; what it answers with comes from its caller, so that no request reaches further than a route.',
      severity: 'error',
      from: { path: '^host/src/api/' },
      to: { path: '^host/src/', pathNot: '^host/src/(api/|errors[.]ts$)' },
    },
    {
      name: 'never-7-observers-are-observed-by-nobody',
      comment: 'telemetry/ and coverage/ watch what runs: only cli/ puts them beside it, and nothing else knows that they are there.',
      severity: 'error',
      from: { path: '^host/src/', pathNot: '^host/src/(cli|telemetry|coverage)/' },
      to: { path: '^host/src/(telemetry|coverage)/' },
    },
    { name: 'no-cycles', comment: 'A cycle means that two files are one.', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', comment: 'An import that leads nowhere.', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-development-packages-in-the-daemon',
      comment: 'The product installs dependencies only.',
      severity: 'error',
      from: { path: '^host/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'no-tests-in-the-daemon',
      comment: 'Product code does not lean on tests.',
      severity: 'error',
      from: { path: '^host/' },
      to: { path: '^(test|bench)/' },
    },
  ],
  options: {
    doNotFollow: { path: '(^|/)(node_modules|dist)/' },
    exclude: { path: '(^|/)dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json'],
    },
    moduleSystems: ['es6', 'cjs'],
  },
};
