process AIGNOSTICS_RUN {
    tag "$meta.id"
    label 'process_single'

    conda "${moduleDir}/environment.yml"
    container "aignostics-cli:@VERSION@"

    input:
    tuple val(meta), path(table), path(slides, stageAs: 'slides/*')
    val application

    output:
    tuple val(meta), path("results/**"), emit: results
    path "versions.yml"             , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    mkdir results
    cp $table results/slides.csv
    aignostics run execute $application results/slides.csv slides $args

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        aignostics: \$(aignostics --version | sed 's/aignostics //')
    END_VERSIONS
    """

    stub:
    """
    mkdir results
    touch results/slides.csv

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        aignostics: \$(aignostics --version | sed 's/aignostics //')
    END_VERSIONS
    """
}
