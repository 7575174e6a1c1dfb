# The demo with fewer people, for walks that show that commands work; read by `source`.
fewer_people=(
  --config.method.relabel_every=1
  --config.data.source_options.identities=24
  --config.data.target_options.identities=16
  --config.data.target_options.test_identities=8
  --config.figures.tsne_images=100
)
